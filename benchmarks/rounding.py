"""What bfloat16 costs an added vector and an ablated direction, on Gaussian states.

    python benchmarks/rounding.py

Compares computing in bfloat16 with computing in float32 and rounding the result, both against
float64. Prints one JSON line for each size of the vector beside the states.
"""

import json

import torch

D, TOKENS = 576, 4000


def main() -> None:
    torch.manual_seed(0)
    for size in (0.01, 0.1, 1.0):
        states, vector = torch.randn(TOKENS, D).bfloat16(), size * torch.randn(D)
        exact = states.double() + vector.double()
        ways = {"bfloat16": states + vector.bfloat16(), "float32": (states.float() + vector)}
        rms = {k: float((v.bfloat16() - exact).square().mean().sqrt()) for k, v in ways.items()}
        unit = vector / vector.norm()
        half = unit.bfloat16()
        rough = states - (states @ half).unsqueeze(-1) * half
        fine = states.float() - (states.float() @ unit).unsqueeze(-1) * unit
        before = (states.double() @ unit.double()).abs().mean()
        left = {
            "bfloat16": float((rough.double() @ unit.double()).abs().mean() / before),
            "float32": float((fine.bfloat16().double() @ unit.double()).abs().mean() / before),
        }
        print(json.dumps({"size": size, "added_rms_error": rms, "ablated_part_left": left}))


if __name__ == "__main__":
    main()
