"""Each case in a process of its own, as torchvision can be imported only once."""

import os
import subprocess
import sys

PREPARE = "from edgeglass_models.torchvision_operators import define_missing_operators as define; "


def run(code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", PREPARE + code]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    return output.stdout.strip()


def test_torchvision_and_open_clip_can_be_imported():
    assert run("define(); import torchvision, open_clip; print(torchvision.transforms.Resize(4).size)") == "4"


def test_defines_only_what_torchvision_cannot_bring_itself():
    code = (
        "defined = define(); assert define() == (), 'the second time'; import torchvision; "
        "assert define() == (), 'after torchvision'; print(bool(defined) != torchvision.extension._has_ops())"
    )
    assert run(code) == "True"
