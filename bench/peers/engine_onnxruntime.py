"""engine_onnxruntime.py - ONNX Runtime's CPU provider, all graph optimizations.

int8 is its dynamic quantization with weights per channel. Without VNNI its kernels add two products of unsigned and
signed bytes in 16 bits, which saturate, so weights get 7 bits there (`reduce_range`), as its documentation advises;
"int8-u8" is the other way out, unsigned weights. "int8-fused" is quantized after onnxruntime.transformers fused what it
finds: in BERT attention too, in MPNet the rest.
"""
import os

import numpy as np

import engine
import export_onnx


class Engine(engine.EngineBase):
    module = "onnxruntime"
    packages = ["onnxruntime", "onnx"]
    variants = {
        "float": "float32",
        "int8": "dynamic, weights int8 per channel (reduce_range without VNNI)",
        "int8-u8": "dynamic, weights uint8 per channel",
        "int8-fused": "fused by onnxruntime.transformers, then as int8",
    }

    def prepare(self, variant, folder):
        self.runtime()
        path = os.path.join(folder, "model.onnx")
        float_path = os.path.join(folder, "float.onnx")
        export_onnx.export(self.task, path if variant == "float" else float_path)
        if variant == "float":
            return
        if variant == "int8-fused":
            self.fuse(float_path)
        quantization = engine.require("onnxruntime.quantization")
        signed = variant != "int8-u8"
        on_x86 = "avx2" in self.task.flags
        quantization.quantize_dynamic(
            float_path, path, per_channel=True, reduce_range=signed and on_x86 and not self.task.has_vnni(),
            weight_type=quantization.QuantType.QInt8 if signed else quantization.QuantType.QUInt8,
            nodes_to_exclude=[export_onnx.RELATIVE_GATHER], extra_options={"DefaultTensorType": 1})
        os.remove(float_path)

    def fuse(self, path):
        optimizer = engine.require("onnxruntime.transformers.optimizer")
        config = self.task.config()
        model = optimizer.optimize_model(path, model_type="bert", num_heads=config["num_attention_heads"],
                                         hidden_size=config["hidden_size"], opt_level=0)
        model.save_model_to_file(path)

    def load(self, variant, folder):
        ort = self.runtime()
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.task.threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = ort.InferenceSession(os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"])
        return lambda ids: session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
