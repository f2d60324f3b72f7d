"""Writes expected.json: what llama.cpp's own converter makes of the adapters in cases.json.

    python3 cases.py && python3 expected.py LLAMA_CPP

LLAMA_CPP is the source of the release whose libraries Oriel uses. It runs convert_lora_to_gguf.py with PyTorch of Debian 12,
which knows fewer types, and without transformers, which is not needed for configurations that are given."""
import hashlib
import json
import os
import sys
import tempfile
import types

import numpy as np
import torch

here = os.path.dirname(os.path.abspath(__file__))
source = os.path.abspath(sys.argv[1])
rank = 4


def numbers(name, count):
    """Numbers that every type has exactly: the same formula is in the test."""
    seed = sum(ord(c) * (i + 1) for i, c in enumerate(name)) % 65521
    return ((np.arange(count, dtype=np.int64) * 40503 + seed * 2654435) % 251 - 125).astype(np.float32) / 128


def as_torch(case, name, shape):
    of = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    return torch.from_numpy(numbers(name, int(np.prod(shape)))).reshape(shape).to(of[case["dtype"]])


def tensors(case):
    made = {}
    for module, inputs, outputs in case["modules"]:
        for half, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            name = f"base_model.model.{module}.lora_{half}.weight"
            made[name] = as_torch(case, name, shape)
    if "table" in case:
        module, tokens, width = case["table"]
        for half, shape in (("A", (rank, tokens)), ("B", (width, rank))):
            name = f"base_model.model.{module}.lora_embedding_{half}"
            made[name] = as_torch(case, name, shape)
    return made


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


class NoConfig:
    @staticmethod
    def from_pretrained(*_, **__):
        raise OSError("config.json is read instead")


stub("transformers", AutoConfig=NoConfig, AutoTokenizer=NoConfig)
class NoBar:
    def __init__(self, *_, **__):
        pass

    def update(self, *_):
        pass

    reset = close = update


stub("tqdm", tqdm=NoBar)
stub("safetensors")
loaded = {}
stub("safetensors.torch", load_file=lambda *_, **__: dict(loaded))
for missing in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"):
    if not hasattr(torch, missing):
        setattr(torch, missing, torch.uint8)
sys.path[:0] = [source, os.path.join(source, "gguf-py")]
import conversion  # noqa: E402
import gguf  # noqa: E402

script = os.path.join(source, "convert_lora_to_gguf.py")
# Classes for vision files ask for the number of axes.
program = open(script).read().replace("class LoraTorchTensor:\n", "class LoraTorchTensor:\n    ndim = property(lambda self: len(self.shape))\n")
model_class = conversion.get_model_class


def converted(case):
    loaded.clear()
    loaded.update(tensors(case))
    with tempfile.TemporaryDirectory() as folder:
        base, adapter, out = (os.path.join(folder, n) for n in ("base", "adapter", "out.gguf"))
        os.mkdir(base)
        os.mkdir(adapter)
        for path, value in ((f"{base}/config.json", case["config"]),
                            (f"{base}/preprocessor_config.json", {"image_mean": [.5] * 3, "image_std": [.5] * 3}),
                            (f"{base}/tokenizer_config.json", {"added_tokens_decoder": {"5": {"content": "[IMG_BREAK]"}}}),
                            (f"{adapter}/adapter_config.json", {"peft_type": "LORA", "r": rank, "lora_alpha": 8})):
            with open(path, "w") as f:
                json.dump(value, f)
        open(f"{adapter}/adapter_model.safetensors", "w").close()
        # The converter makes adapters for decoders only. Its classes for vision files take the same tensors.
        is_vision = "vision" in case
        conversion.get_model_class = (lambda name: model_class(name, mmproj=True)) if is_vision else model_class
        detect = conversion.get_model_architecture
        if is_vision:
            conversion.get_model_architecture = lambda hparams, _: detect(hparams, conversion.ModelType.MMPROJ)
        sys.argv = ["convert_lora_to_gguf.py", "--base", base, "--outfile", out, "--no-lazy", adapter]
        try:
            exec(compile(program, script, "exec"), {"__name__": "__main__", "__file__": script})
        finally:
            conversion.get_model_architecture = detect
        reader = gguf.GGUFReader(out)
        fields = {k: f.contents() for k, f in reader.fields.items() if k == "general.architecture" or k == "general.type" or k.startswith("adapter.")}
        return {"metadata": fields, "tensors": {t.name: [[int(n) for n in t.shape], hashlib.sha256(np.ascontiguousarray(t.data).tobytes()).hexdigest()[:32]]
                                                for t in sorted(reader.tensors, key=lambda t: t.name) if t.name.endswith((".lora_a", ".lora_b"))}}


with open(os.path.join(here, "cases.json")) as f:
    cases = json.load(f)
expected = {}
for name, case in cases.items():
    print(name, file=sys.stderr)
    expected[name] = converted(case)
with open(os.path.join(here, "expected.json"), "w") as f:
    json.dump(expected, f, indent=None, separators=(",", ":"))
    f.write("\n")
