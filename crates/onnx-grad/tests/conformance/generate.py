"""Writes the node cases that the `onnx` wheel carries, as its own test data is laid out.

    python generate.py FOLDER OPERATOR...

The wheel holds the cases as code; FOLDER gets a folder a case, with
`model.onnx` and `test_data_set_0/{input,output}_N.pb`.
"""

import sys
from pathlib import Path

from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases


def tensors(folder, kind, infos, values):
    for index, (info, value) in enumerate(zip(infos, values)):
        if not isinstance(value, TensorProto):
            value = numpy_helper.from_array(value)
        value.name = info.name
        (folder / f"{kind}_{index}.pb").write_bytes(value.SerializeToString())


def main(folder, operators):
    for case in collect_testcases(None):
        graph = case.model.graph
        plain = all(info.type.HasField("tensor_type") for info in [*graph.input, *graph.output])
        used = {node.op_type for node in graph.node if node.domain == ""}
        # the expansion of a function is no case of the operator that it expands to
        expanded = "_expanded" in case.name
        if not plain or expanded or len(graph.node) != 1 or not used & operators:
            continue
        target = folder / case.name
        for number, (inputs, outputs) in enumerate(case.data_sets):
            data = target / f"test_data_set_{number}"
            data.mkdir(parents=True, exist_ok=True)
            tensors(data, "input", graph.input, inputs)
            tensors(data, "output", graph.output, outputs)
        (target / "model.onnx").write_bytes(case.model.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]))
