/// What a file that is no safetensors file seems to be, by its first bytes.
///
/// People meet these daily: a clone without Git LFS, a login page saved under the model's name, the wrong
/// download. Each deserves its own sentence. Looked at only once the header's length makes no sense.
package enum ForeignFormat: Error, Equatable, CaseIterable {
  /// A Git LFS pointer, three lines of text in place of the file.
  case gitLFSPointer
  /// A web page, most often an error or a login.
  case htmlPage
  /// JSON text, such as an index under another name.
  case json
  /// A zip archive that is none of PyTorch's.
  case zip
  /// A bare pickle, which is not what torch.save writes.
  case pickle
  /// A llama.cpp model.
  case gguf
  /// An HDF5 file, as Keras writes.
  case hdf5
  /// A NumPy array.
  case npy
  /// A gzip stream.
  case gzip
  /// A Zstandard stream.
  case zstd

  /// How many of a file's first bytes ``init(prefix:)`` wants to see.
  package static let prefixSize = 64

  /// Recognises a format from the file's first bytes, or returns nil.
  package init?(prefix: [UInt8]) {
    // A page may begin with a byte order mark or blank lines.
    let text = prefix.drop { $0 <= 0x20 || [0xEF, 0xBB, 0xBF].contains($0) }.map { byte in
      byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
    for format in Self.allCases {
      let start = format == .htmlPage || format == .json ? text : prefix
      if format.signatures.contains(where: { start.starts(with: $0) }) {
        self = format
        return
      }
    }
    return nil
  }

  private var signatures: [[UInt8]] {
    switch self {
    case .gitLFSPointer: [Array("version https://git-lfs".utf8)]
    case .htmlPage: ["<!doctype", "<html", "<head", "<?xml"].map { Array($0.utf8) }
    case .json: ["{\"", "{ ", "{\t", "{\r", "{\n"].map { Array($0.utf8) }
    case .zip: [Array("PK\u{3}\u{4}".utf8)]
    case .pickle: [[0x80, 2], [0x80, 3], [0x80, 4], [0x80, 5]]
    case .gguf: [Array("GGUF".utf8)]
    case .hdf5: [[0x89] + Array("HDF\r\n".utf8)]
    case .npy: [[0x93] + Array("NUMPY".utf8)]
    case .gzip: [[0x1F, 0x8B]]
    case .zstd: [[0x28, 0xB5, 0x2F, 0xFD]]
    }
  }
}

extension ForeignFormat: CustomStringConvertible {
  /// One clause for a person, with what to do about it.
  package var description: String {
    switch self {
    case .gitLFSPointer:
      "this is a Git LFS pointer, not the model: run 'git lfs pull' in its repository"
    case .htmlPage:
      "this is an HTML page, not a model: the download went to an error or login page"
    case .json:
      "this is JSON text; an index must be named like model.safetensors.index.json"
    case .zip:
      "this is a zip archive, but not one of PyTorch's: no data.pkl is in it"
    case .pickle:
      "this is a bare Python pickle, not a file of torch.save; what it holds cannot be told without running it"
    case .gguf: "this is a GGUF model, not safetensors"
    case .hdf5: "this is an HDF5 file, not safetensors"
    case .npy: "this is a NumPy array, not safetensors"
    case .gzip: "this is gzip-compressed: decompress it first"
    case .zstd: "this is Zstandard-compressed: decompress it first"
    }
  }
}
