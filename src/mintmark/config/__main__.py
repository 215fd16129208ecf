"""``python -m mintmark.config > docs/configuration.md``."""

import sys

from mintmark.config.reference import reference

if __name__ == "__main__":
    sys.stdout.write(reference())
