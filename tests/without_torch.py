"""Programs that run where PyTorch cannot be imported."""

# Put before a program. An entry None in sys.modules would break scikit-learn itself.
BLOCK_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)

sys.meta_path.insert(0, NoTorch())
"""
