"""Keeps bytes: each blob once, for every tenant that holds it, and the prompts that name them.

The public names stand in `__init__.pyi`. Each is imported when it is first asked for: a process that
decodes images needs three modules of these, and has to start fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
