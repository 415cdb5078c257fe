internal import Safetensors

/// Weights in unsupported formats, by the names of their files and directories.
enum ForeignFiles {
  private static let suffixes = [
    ".gguf", ".ggml", ".h5", ".hdf5", ".keras", ".msgpack", ".onnx", ".onnx_data", ".npz", ".npy", ".nemo",
    ".tar", ".tar.gz",
    ".tgz", ".zip", ".gz", ".zst", ".7z", ".rar", ".tflite", ".mlmodel", ".mlpackage", ".engine", ".plan",
    ".incomplete",
    ".crdownload", ".part", ".aria2", ".pkl", ".pickle", ".joblib", ".ckpt.index", ".pb", ".pdparams", ".ot",
    ".distcp",
  ]
  private static let starts = ["openvino_", "checkpoint-"]

  /// True for a name that a user could take for the model, but whose format stmount does not support: files of OpenVINO, ONNX
  /// and Flax, unfinished downloads, checkpoints of a training run.
  static func isWeights(_ name: [UInt8]) -> Bool {
    suffixes.contains { name.hasSuffix(ignoringCase: $0) } || starts.contains { name.starts(with: $0.utf8) }
  }
}
