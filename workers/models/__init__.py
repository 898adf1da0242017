"""Networks: feature backbones, the SwinIR generator, discriminators and IQA models."""
