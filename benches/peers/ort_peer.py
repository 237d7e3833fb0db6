"""Steps of a graph of onnx-grad in stock ONNX Runtime: python ort_peer.py FOLDER THREADS.

The folder is what `cargo bench -p onnx-grad --bench step -- --write` made, and
the batch, image.f32. A number of steps is read from each line; the loss answers
once they are done.
"""

import sys
from pathlib import Path

import numpy
import onnxruntime
from onnxruntime import OrtValue

folder, threads = Path(sys.argv[1]), int(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
# a step must not write where it still reads
options.enable_mem_pattern = False
session = onnxruntime.InferenceSession(folder / "step.onnx", options, ["CPUExecutionProvider"])
shapes = {x.name: x.shape for x in session.get_inputs()}
outputs = [x.name for x in session.get_outputs()]


def stored(name: str) -> OrtValue:
    data = numpy.fromfile(folder / f"{name}.f32", "<f4").reshape(shapes[name])
    return OrtValue.ortvalue_from_numpy(data)


def scalar(x: float) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(numpy.array(x, numpy.float32))


feeds = {name: stored(name) for name in ("params", "buffers", "image") if name in shapes}
for name in ("m", "v"):
    feeds[name] = OrtValue.ortvalue_from_numpy(numpy.zeros(shapes[name], numpy.float32))
feeds["learning_rate"] = scalar(1e-4)
steps = 0
for line in sys.stdin:
    for _ in range(int(line)):
        steps += 1
        feeds["bias_correction1"] = scalar(1 - 0.9**steps)
        feeds["bias_correction2"] = scalar(1 - 0.999**steps)
        results = dict(zip(outputs, session.run_with_ort_values(outputs, feeds)))
        feeds |= {k.removeprefix("next_"): v for k, v in results.items() if k != "loss"}
    print(results["loss"].numpy().item(), flush=True)
