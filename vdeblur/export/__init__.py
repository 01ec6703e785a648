"""Export: a network as an ONNX or ``torch.export`` file, recurrent state as inputs and outputs."""
