"""Loading GDAL's readers says nothing."""

import os
import subprocess
import sys


def test_drivers_that_gdal_was_built_without_are_no_warning() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CPL_LOG", "GDAL_SKIP")}
    code = "import damage_ssl, pyogrio, rasterio"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stderr == ""
