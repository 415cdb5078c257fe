import Fixtures
import SystemPackage

extension TemporaryDirectory {
  /// Writes a model of one U8 tensor, `w`, whose data is a hole.
  func writeSparse(_ name: String, size: Int) throws -> FilePath {
    let header = #"{"w":{"dtype":"U8","shape":[\#(size)],"data_offsets":[0,\#(size)]}}"#
    let file = SafetensorsFile(header: header)
    let path = try write(name, file)
    let descriptor = try FileDescriptor.open(path, .readWrite)
    try descriptor.closeAfter { try descriptor.resize(to: Int64(file.bytes.count + size)) }
    return path
  }

  /// Writes a diffusers pipeline of two components, `unet` and a small `vae`, and returns its directory.
  func writePipeline(_ name: String, unet: SafetensorsFile) throws -> FilePath {
    try write("\(name)/model_index.json", text: "{}")
    try write("\(name)/unet/diffusion_pytorch_model.safetensors", unet)
    try write("\(name)/vae/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("u/v", "U8", [1])))
    return path.appending(name)
  }
}
