"""What decides at run time whether, where and how strongly to steer."""

__all__: list[str] = []
