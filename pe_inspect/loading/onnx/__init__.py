"""ONNX files without the onnx package, whose reader takes all of a file into memory.

graph       the message: nodes, and constants as places in the file
constants   a constant as a lazy tensor
naming      what an anonymous constant was called, by the node that uses it
tables      what folding made of position tables: joined again, biases un-gathered
quantised   integers with a scale, widened
"""
