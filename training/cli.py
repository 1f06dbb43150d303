"""The command line of the training side."""

from __future__ import annotations

import os

from edge_app.command_line import run_command_line, set_up_libraries

set_up_libraries()  # before numpy and cv2 are imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import NoReturn  # noqa: E402

import click  # noqa: E402

from edge_app import __version__  # noqa: E402
from training.adapt.command import adapt  # noqa: E402
from training.bundle.command import bundle, bundle_key, deploy  # noqa: E402
from training.commands import (  # noqa: E402
    evaluate,
    export,
    fetch_pretrained,
    import_config,
    operators,
    post_process,
    quantize,
    train,
)
from training.compile.command import compile_model  # noqa: E402
from training.parity.command import parity  # noqa: E402
from training.prepare.command import prepare  # noqa: E402
from training.prepare.compose_command import compose_set  # noqa: E402
from training.runtimes.command import runtime_matrix  # noqa: E402
from training.scene_evaluation.command import evaluate_scene  # noqa: E402
from training.scene_evaluation.distances_command import evaluate_distances  # noqa: E402
from training.scene_evaluation.hiding_command import evaluate_hiding  # noqa: E402
from training.scene_evaluation.tracks_command import evaluate_tracks  # noqa: E402
from training.simulation.command import simulate_distances  # noqa: E402
from training.simulation.crowds_command import simulate_crowds  # noqa: E402


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="training")
def cli() -> None:
    """Makes, quantises and measures pedestrian detectors for edge devices."""


for command in (
    fetch_pretrained,
    import_config,
    prepare,
    compose_set,
    train,
    export,
    quantize,
    post_process,
    operators,
    compile_model,
    bundle,
    bundle_key,
    deploy,
    runtime_matrix,
    evaluate,
    parity,
    adapt,
    evaluate_scene,
    evaluate_tracks,
    evaluate_hiding,
    evaluate_distances,
    simulate_distances,
    simulate_crowds,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line."""
    run_command_line(cli, "python -m training")
