"""The encodings that several formats are made of: bytes by position, and how they are cut.

octets      a file's bytes by position, of this machine or not, without reading what is not asked
positioned  streams over bytes that are read by position
hdf5_texts  texts among HDF5's attributes
msgpack     MessagePack's values
protobuf    protocol buffers' fields
stretch     a stretch of a file as a file of its own: an archive's member that is not compressed
"""
