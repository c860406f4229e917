"""engine_openvino.py - OpenVINO's CPU plugin, one stream.

"int8-ptq" is nncf's post-training quantization with its preset for transformers, calibrated on text; "int8-dynamic" is
weights compressed to 8 bits by nncf, with activations quantized while running where the plugin can do it on this CPU.
"""
import os

import numpy as np

import engine
import export_onnx


class Engine(engine.EngineBase):
    module = "openvino"
    packages = ["openvino", "nncf"]
    variants = {
        "float": "float32",
        "bf16": "bfloat16 inference of the float32 model",
        "int8-ptq": "nncf post-training quantization, model_type transformer",
        "int8-ptq-bf16": "the same, between the products bfloat16",
        "int8-dynamic": "nncf int8 weights, dynamic quantization in groups of the model's width",
        "int8-dynamic-bf16": "the same, between the products bfloat16",
    }

    def prepare(self, variant, folder):
        ov = self.runtime()
        if variant.endswith("bf16") and not self.task.has_bf16():
            raise engine.Unavailable("this CPU has no bfloat16 instructions")
        onnx_path = os.path.join(folder, "model.onnx")
        export_onnx.export(self.task, onnx_path)
        model = ov.convert_model(onnx_path)
        if variant.startswith("int8-ptq"):
            nncf = engine.require("nncf")
            texts = self.task.calibration_ids()
            samples = nncf.Dataset(texts, lambda ids: {"input_ids": ids, "attention_mask": np.ones_like(ids)})
            model = nncf.quantize(model, samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts))
        elif variant.startswith("int8-dynamic"):
            nncf = engine.require("nncf")
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        ov.save_model(model, os.path.join(folder, "model.xml"), compress_to_fp16=False)
        os.remove(onnx_path)

    def load(self, variant, folder):
        ov = self.runtime()
        settings = {"INFERENCE_NUM_THREADS": self.task.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                    "ENABLE_CPU_PINNING": False,
                    "INFERENCE_PRECISION_HINT": "bf16" if variant.endswith("bf16") else "f32"}
        if variant.startswith("int8-dynamic"):
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = self.task.config()["hidden_size"]
        request = ov.Core().compile_model(os.path.join(folder, "model.xml"), "CPU", settings).create_infer_request()

        def embed(ids):
            inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            return request.infer(inputs, share_inputs=True, share_outputs=True)[0].copy()

        return embed
