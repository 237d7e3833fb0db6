"""Steps in onnxruntime-training 1.19.2, the last of its kind: python training_peer.py FOLDER THREADS.

The folder holds loss.onnx, the network with its objective, and image.f32. A
number of steps is read from each line; the loss answers once they are done.
"""

import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnxruntime.training import artifacts, onnxblock
from onnxruntime.training.api import CheckpointState, Module, Optimizer

onnxruntime.set_default_logger_severity(3)
folder, threads = Path(sys.argv[1]), int(sys.argv[2])
made = folder / "training"
made.mkdir(exist_ok=True)
model = onnx.load(folder / "loss.onnx")
names = [x.name for x in model.graph.initializer if x.data_type == onnx.TensorProto.FLOAT]
trained = [name for name in names if "running_" not in name and name != "positions"]
# it decays all parameters or none
optimizer = onnxblock.optim.AdamW(
    eps=1e-8, weight_decay=0.05, clip_grad=onnxblock.optim.ClipGradNorm(1.0)
)
artifacts.generate_artifacts(
    model, requires_grad=trained, frozen_params=[n for n in names if n not in trained],
    optimizer=optimizer, artifact_directory=made,
)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
state = CheckpointState.load_checkpoint(made / "checkpoint")
module = Module(made / "training_model.onnx", state, session_options=options)
optimizer = Optimizer(made / "optimizer_model.onnx", module)
optimizer.set_learning_rate(1e-4)
shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
x = numpy.fromfile(folder / "image.f32", "<f4").reshape(shape)
module.train()
for line in sys.stdin:
    for _ in range(int(line)):
        loss = module(x)
        optimizer.step()
        module.lazy_reset_grad()
    print(float(loss), flush=True)
