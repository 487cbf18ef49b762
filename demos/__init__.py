"""Examples that run as they are: `python -m steer.demos.NAME`."""

__all__: list[str] = []
