"""Writes cases.json: small adapters in the format of PEFT, and the configurations of the models that they are for.

Names of modules and fields are those of transformers. `base` has what the test needs of the model's GGUF: its numbers, and
the shapes of its matrices follow from those of the adapter."""
import json
import os

here = os.path.dirname(os.path.abspath(__file__))


def dense(prefix, layers, width, heads, kv, head, ff, names=None):
    of = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
          "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj", **(names or {})}
    sizes = {"q": (width, heads * head), "k": (width, kv * head), "v": (width, kv * head), "o": (heads * head, width),
             "gate": (width, ff), "up": (width, ff), "down": (ff, width)}
    return [[f"{prefix}.{i}.{of[k]}", *sizes[k]] for i in range(layers) for k in of]


def text(**more):
    return {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
            "vocab_size": 128, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "head_dim": 16, "rope_theta": 10000.0, **more}


usual = dict(layers=2, width=64, heads=4, kv=2, head=16, ff=96)
heads = {"attention.head_count": 4, "attention.head_count_kv": 2}
vision = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 80, "image_size": 64, "patch_size": 16}


def siglip(prefix):
    return dense(prefix, 2, 48, 4, 4, 12, 80, {"o": "self_attn.out_proj", "gate": "mlp.fc1", "down": "mlp.fc2", "up": "mlp.fc1"})


def without_up(modules):
    seen = []
    return [m for m in modules if not (m[0] in seen or seen.append(m[0]))]


cases = {
    "llama": dict(config=dict(architectures=["LlamaForCausalLM"], model_type="llama", **text()), arch="llama", base=heads, dtype="F16",
                  modules=dense("model.layers", **usual) + [["lm_head", 64, 128]], table=["model.embed_tokens", 128, 64]),
    "smolvlm": dict(config=dict(architectures=["SmolVLMForConditionalGeneration"], model_type="smolvlm",
                                text_config=text(architectures=["VLlama3ForCausalLM"], model_type="llama")), arch="llama", base=heads, dtype="BF16",
                    modules=dense("model.text_model.layers", **usual)),
    "qwen2vl": dict(config=dict(architectures=["Qwen2VLForConditionalGeneration"], model_type="qwen2_vl", **text()), arch="qwen2vl", base=heads,
                    dtype="F32", modules=dense("model.language_model.layers", **usual)),
    "qwen3vl": dict(config=dict(architectures=["Qwen3VLForConditionalGeneration"], model_type="qwen3_vl", text_config=text()), arch="qwen3vl", base=heads,
                    dtype="F32", modules=dense("model.language_model.layers", **usual)),
    "qwen35": dict(config=dict(architectures=["Qwen3_5ForConditionalGeneration"], model_type="qwen3_5", text_config=text(
                       linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8, linear_conv_kernel_dim=4,
                       layer_types=["linear_attention", "full_attention"], mtp_num_hidden_layers=1)), arch="qwen35",
                   base={**heads, "ssm.group_count": 2, "ssm.time_step_rank": 4, "ssm.inner_size": 32, "ssm.state_size": 8}, dtype="BF16",
                   modules=[["model.language_model.layers.0.linear_attn.in_proj_qkv", 64, 64], ["model.language_model.layers.0.linear_attn.in_proj_z", 64, 32],
                            ["model.language_model.layers.0.linear_attn.in_proj_a", 64, 4], ["model.language_model.layers.0.linear_attn.in_proj_b", 64, 4],
                            ["model.language_model.layers.1.self_attn.q_proj", 64, 128], ["model.language_model.layers.1.self_attn.k_proj", 64, 32]]),
    "gemma3": dict(config=dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", text_config=text()), arch="gemma3", base=heads,
                   dtype="BF16", modules=dense("language_model.model.layers", **usual)),
    "gemma4": dict(config=dict(architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", text_config=text(
                       layer_types=["sliding_attention", "full_attention"], sliding_window=32)), arch="gemma4", base=heads, dtype="F32",
                   modules=dense("model.language_model.layers", **usual) + [["model.language_model.layers.0.per_layer_input_gate", 64, 16],
                                                                            ["model.language_model.layers.0.per_layer_projection", 16, 64]]),
    "phi3": dict(config=dict(architectures=["Phi3ForCausalLM"], model_type="phi3", **text()), arch="phi3", base=heads, dtype="F16",
                 modules=[["model.layers.0.self_attn.qkv_proj", 64, 128], ["model.layers.0.self_attn.o_proj", 64, 64],
                          ["model.layers.1.mlp.gate_up_proj", 64, 192], ["model.layers.1.mlp.down_proj", 96, 64]]),
    "lfm2": dict(config=dict(architectures=["Lfm2ForCausalLM"], model_type="lfm2", layer_types=["conv", "full_attention"], conv_L_cache=3, norm_eps=1e-5,
                             block_ff_dim=96, block_auto_adjust_ff_dim=False, block_ffn_dim_multiplier=1.0, block_multiple_of=1, **text()),
                 arch="lfm2", base=heads, dtype="F32",
                 modules=[["model.layers.0.conv.in_proj", 64, 192], ["model.layers.0.conv.out_proj", 64, 64], ["model.layers.0.feed_forward.w1", 64, 96],
                          ["model.layers.0.feed_forward.w2", 96, 64], ["model.layers.0.feed_forward.w3", 64, 96],
                          ["model.layers.1.self_attn.q_proj", 64, 64], ["model.layers.1.self_attn.out_proj", 64, 64]]),
    "granite": dict(config=dict(architectures=["GraniteForCausalLM"], model_type="granite", attention_multiplier=1.0, embedding_multiplier=1.0,
                                residual_multiplier=1.0, logits_scaling=1.0, **text()), arch="granite", base=heads, dtype="F32",
                    modules=dense("model.layers", **usual)),
    "granite4": dict(config=dict(architectures=["GraniteMoeHybridForCausalLM"], model_type="granitemoehybrid", layer_types=["attention", "attention"],
                                 shared_intermediate_size=96, num_local_experts=0, mamba_n_groups=1, mamba_expand=2, mamba_d_head=16, **text()),
                     arch="granite", base=heads, dtype="F32",
                     modules=[["model.layers.0.self_attn.q_proj", 64, 64], ["model.layers.0.shared_mlp.input_linear", 64, 192],
                              ["model.layers.0.shared_mlp.output_linear", 96, 64]]),
    "idefics3 vision": dict(config=dict(architectures=["SmolVLMForConditionalGeneration"], model_type="smolvlm", text_config=text(),
                                        vision_config=dict(model_type="smolvlm_vision", **vision)), arch="clip", vision="idefics3", base={}, dtype="F32",
                            modules=without_up(siglip("model.vision_model.encoder.layers")) + [["model.connector.modality_projection.proj", 192, 64]]),
    "gemma3 vision": dict(config=dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", text_config=text(), vision_config=vision),
                          arch="clip", vision="gemma3", base={}, dtype="F32", modules=without_up(siglip("vision_tower.vision_model.encoder.layers"))),
    "qwen2vl vision": dict(config=dict(architectures=["Qwen2VLForConditionalGeneration"], model_type="qwen2_vl", **text(), vision_config=dict(
                               depth=4, embed_dim=48, hidden_size=64, num_heads=4, patch_size=14)), arch="clip", vision="qwen2vl_merger", base={}, dtype="F32",
                           modules=[[f"visual.blocks.{i}.{n}", a, b] for i in range(2) for n, a, b in (
                               ("attn.qkv", 48, 144), ("attn.proj", 48, 48), ("mlp.fc1", 48, 192), ("mlp.fc2", 192, 48))]
                           + [["visual.merger.mlp.0", 192, 192], ["visual.merger.mlp.2", 192, 64]]),
    "qwen3vl vision": dict(config=dict(architectures=["Qwen3VLForConditionalGeneration"], model_type="qwen3_vl", text_config=text(), vision_config=dict(
                               depth=8, hidden_size=48, num_heads=4, patch_size=16, num_position_embeddings=16, deepstack_visual_indexes=[5, 7])),
                           arch="clip", vision="qwen3vl_merger", base={}, dtype="F32",
                           modules=[[f"model.visual.blocks.6.{n}", a, b] for n, a, b in (
                               ("attn.qkv", 48, 144), ("attn.proj", 48, 48), ("mlp.linear_fc1", 48, 80), ("mlp.linear_fc2", 80, 48))]
                           + [["model.visual.merger.linear_fc1", 192, 192], ["model.visual.merger.linear_fc2", 192, 64],
                              ["model.visual.deepstack_merger_list.0.linear_fc1", 192, 192], ["model.visual.deepstack_merger_list.0.linear_fc2", 192, 64],
                              ["model.visual.deepstack_merger_list.1.linear_fc1", 192, 192], ["model.visual.deepstack_merger_list.1.linear_fc2", 192, 64]]),
    "pixtral vision": dict(config=dict(architectures=["LlavaForConditionalGeneration"], model_type="llava", text_config=text(), vision_config=dict(
                               model_type="pixtral", hidden_act="silu", **vision)), arch="clip", vision="pixtral",
                           base={"clip.vision.attention.head_count": 4}, dtype="F32",
                           modules=[[f"vision_tower.transformer.layers.1.{n}", a, b] for n, a, b in (
                               ("attention.q_proj", 48, 48), ("attention.k_proj", 48, 48), ("attention.v_proj", 48, 48), ("attention.o_proj", 48, 48),
                               ("feed_forward.gate_proj", 48, 80), ("feed_forward.up_proj", 48, 80), ("feed_forward.down_proj", 80, 48))]
                           + [["multi_modal_projector.linear_1", 48, 64], ["multi_modal_projector.linear_2", 64, 64]]),
    "internvl vision": dict(config=dict(architectures=["InternVLChatModel"], model_type="internvl_chat", llm_config=text(), downsample_ratio=0.5,
                                        vision_config=dict(architectures=["InternVisionModel"], hidden_act="gelu", layer_norm_eps=1e-6, **vision)),
                            arch="clip", vision="internvl", base={}, dtype="F32",
                            modules=[[f"vision_model.encoder.layers.1.{n}", a, b] for n, a, b in (
                                ("attn.qkv", 48, 144), ("attn.proj", 48, 48), ("mlp.fc1", 48, 80), ("mlp.fc2", 80, 48))]
                            + [["mlp1.1", 192, 64], ["mlp1.3", 64, 64]]),
    "qwen2.5vl vision": dict(config=dict(architectures=["Qwen2_5_VLForConditionalGeneration"], model_type="qwen2_5_vl", **text(), vision_config=dict(
                                 depth=4, hidden_size=48, intermediate_size=80, num_heads=4, patch_size=14, fullatt_block_indexes=[1, 3])),
                             arch="clip", vision="qwen2.5vl_merger", base={}, dtype="F32",
                             modules=[[f"visual.blocks.1.{n}", a, b] for n, a, b in (
                                 ("attn.qkv", 48, 144), ("attn.proj", 48, 48), ("mlp.gate_proj", 48, 80), ("mlp.up_proj", 48, 80), ("mlp.down_proj", 80, 48))]
                             + [["visual.merger.mlp.0", 192, 192], ["visual.merger.mlp.2", 192, 64]]),
    "mistral3 vision": dict(config=dict(architectures=["Mistral3ForConditionalGeneration"], model_type="mistral3", text_config=text(), spatial_merge_size=2,
                                        vision_config=dict(model_type="pixtral", hidden_act="silu", **vision)), arch="clip", vision="pixtral",
                            base={"clip.vision.attention.head_count": 4}, dtype="F32",
                            modules=[["vision_tower.transformer.layers.0.attention.q_proj", 48, 48],
                                     ["multi_modal_projector.patch_merger.merging_layer", 192, 48], ["multi_modal_projector.linear_1", 48, 64],
                                     ["multi_modal_projector.linear_2", 64, 64]]),
    "lfm2 vision": dict(config=dict(architectures=["Lfm2VlForConditionalGeneration"], model_type="lfm2-vl", text_config=text(),
                                    vision_config=dict(layer_norm_eps=1e-6, **vision)), arch="clip", vision="lfm2", base={}, dtype="F32",
                        modules=without_up(siglip("model.vision_tower.vision_model.encoder.layers"))
                        + [["model.multi_modal_projector.linear_1", 192, 64], ["model.multi_modal_projector.linear_2", 64, 64]]),
    "gemma4 vision": dict(config=dict(architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", text_config=text(),
                                      vision_config=dict(rms_norm_eps=1e-6, **vision)), arch="clip", vision="gemma4v", base={}, dtype="F32",
                          modules=[[f"model.vision_tower.encoder.layers.1.{n}.linear", a, b] for n, a, b in (
                              ("self_attn.q_proj", 48, 48), ("self_attn.k_proj", 48, 48), ("self_attn.v_proj", 48, 48), ("self_attn.o_proj", 48, 48),
                              ("mlp.gate_proj", 48, 80), ("mlp.up_proj", 48, 80), ("mlp.down_proj", 80, 48))]
                          + [["model.embed_vision.embedding_projection", 48, 64]]),
}

with open(os.path.join(here, "cases.json"), "w") as f:
    json.dump(cases, f, indent=None, separators=(",", ":"))
    f.write("\n")
