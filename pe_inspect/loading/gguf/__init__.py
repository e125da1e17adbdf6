"""GGUF files: llama.cpp's weights, a vision tower's among them.

header      settings and the places of tensors
blocks      numbers that lie in blocks with scales, by their published formulas
"""
