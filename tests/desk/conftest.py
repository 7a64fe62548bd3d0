import sys
from pathlib import Path

# What tests of runs share: models, recordings.
sys.path.append(str(Path(__file__).parent.parent / "live"))
