/// The apparent format of a file that is not safetensors, by its first bytes.
///
/// These are common: a clone without Git LFS, a login page saved under the model's name, the wrong
/// download. Each has its own message.
package enum ForeignFormat: Error, Equatable, CaseIterable {
  /// An empty file.
  case empty
  /// Only zeros, as of a download that reserved its space and did not finish.
  case zeros
  /// A Git LFS pointer, three lines of text in place of the file.
  case gitLFSPointer
  /// A Xet pointer, a few lines of text in place of the file.
  case xetPointer
  /// A web page, most often an error or a login.
  case htmlPage
  /// XML, such as a storage service's error.
  case xml
  /// JSON text with a `weight_map`: an index under another name.
  case index
  /// Other JSON text, such as a server's error.
  case json
  /// A pickle in Python's textual protocol 0.
  case textPickle
  /// A text of no other known format.
  case text
  /// A zip archive that is not one of PyTorch's.
  case zip
  /// A zip archive of NumPy arrays.
  case npz
  /// A zip archive of Keras 3.
  case keras
  /// A zip archive with a model's file in it.
  case zippedModel
  /// A bare pickle, which is not what torch.save writes.
  case pickle
  /// A llama.cpp model.
  case gguf
  /// A model of older llama.cpp, or of whisper.cpp.
  case ggml
  /// An HDF5 file, as Keras writes.
  case hdf5
  /// A NumPy array.
  case npy
  /// ONNX's protocol buffer.
  case onnx
  /// TensorFlow Lite's flat buffer.
  case tfLite
  /// A Flax checkpoint, or another map in MessagePack.
  case messagePack
  /// A converted model of CTranslate2.
  case cTranslate2
  /// A tar archive, such as NeMo's.
  case tar
  /// A gzip stream.
  case gzip
  /// A bzip2 stream.
  case bzip2
  /// An xz stream.
  case xz
  /// A Zstandard stream.
  case zstd
  /// An LZ4 frame.
  case lz4
  /// A 7z archive.
  case sevenZip
  /// A RAR archive.
  case rar
  /// A program or library.
  case elf
  /// A PDF document.
  case pdf
  /// A PNG, JPEG or GIF image.
  case image

  /// The number of a file's first bytes that ``init(prefix:)`` needs: a tar archive names itself at byte 257.
  package static let prefixSize = 512

  /// Recognises a format from the file's first bytes; nil if they could be a safetensors file, or are noise.
  ///
  /// A header may be as long as a signature's bytes say, so a file whose ninth byte begins a header of a
  /// plausible length is never another format.
  package init?(prefix: [UInt8]) {
    guard !prefix.isEmpty else {
      self = .empty
      return
    }
    if prefix.count > 8, prefix[8] == UInt8(ascii: "{"), prefix[4..<8].allSatisfy({ $0 == 0 }) { return nil }
    if let format = Self.allCases.first(where: { $0.isBeginning(prefix) }) {
      self = format
    } else if let format = Self(text: prefix) {
      self = format
    } else {
      return nil
    }
  }

  /// The format of a zip archive with entries of these names, as far as they were read.
  package init(zipEntries names: [[UInt8]]) {
    func ends(_ name: [UInt8], _ suffix: String) -> Bool {
      name.suffix(suffix.utf8.count).map { 0x41...0x5A ~= $0 ? $0 | 0x20 : $0 }.elementsEqual(suffix.utf8)
    }
    let suffixes = [
      ".safetensors", ".sft", ".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".gguf", ".onnx", ".h5",
      ".msgpack",
    ]
    let isModel = { (name: [UInt8]) in suffixes.contains { ends(name, $0) } }
    if !names.isEmpty, names.allSatisfy({ ends($0, ".npy") }) {
      self = .npz
    } else if names.contains(where: { ends($0, "model.weights.h5") }) {
      self = .keras
    } else if names.contains(where: isModel) {
      self = .zippedModel
    } else {
      self = .zip
    }
  }

  /// True if `start` has this format's signature.
  private func isBeginning(_ start: [UInt8]) -> Bool {
    func contains(_ bytes: [UInt8], at offset: Int) -> Bool {
      start.dropFirst(offset).starts(with: bytes)
    }
    func contains(_ text: String) -> Bool { start.starts(with: text.utf8) }
    switch self {
    case .zeros: return start.allSatisfy { $0 == 0 }
    case .zip: return contains("PK\u{3}\u{4}") || contains("PK\u{5}\u{6}")
    case .pickle: return start[0] == 0x80 && start.count > 1 && (2...5).contains(start[1])
    case .gguf: return contains("GGUF")
    case .ggml: return ["lmgg", "fmgg", "tjgg", "algg"].contains { contains($0) }
    case .hdf5: return contains([0x89] + Array("HDF\r\n".utf8), at: 0)
    case .npy: return contains([0x93] + Array("NUMPY".utf8), at: 0)
    case .onnx:
      // ModelProto: ir_version, then producer_name or the graph; onnx.proto.
      guard start.count > 4, start[0] == 0x08, (1...30).contains(start[1]) else { return false }
      return start[2] == 0x12 && start[3] < 0x40
        && start.dropFirst(4).prefix(Int(start[3])).allSatisfy(isASCII)
        || start[2] == 0x3A || start[2] == 0x42
    case .tfLite: return contains(Array("TFL3".utf8), at: 4)
    case .messagePack:
      // A map whose first key is a short text.
      guard start.count > 4 else { return false }
      let key = 0x80...0x8F ~= start[0] ? 1 : start[0] == 0xDE ? 3 : start[0] == 0xDF ? 5 : start.count
      guard key < start.count, 0xA1...0xBF ~= start[key] else { return false }
      return start.dropFirst(key + 1).prefix(Int(start[key] & 0x1F)).allSatisfy(isASCII)
    case .cTranslate2:
      // The version, then the name of the model's class with its length and a zero.
      guard start.count > 8, (1...20).contains(start[0]), start[1...3].allSatisfy({ $0 == 0 }) else {
        return false
      }
      return (4...64).contains(start[4]) && start[5] == 0 && start.dropFirst(6).prefix(6).allSatisfy(isASCII)
    case .tar: return contains(Array("ustar".utf8), at: 257)
    case .gzip: return contains([0x1F, 0x8B], at: 0)
    case .bzip2: return contains("BZh") && contains([0x31, 0x41, 0x59, 0x26, 0x53, 0x59], at: 4)
    case .xz: return contains([0xFD] + Array("7zXZ".utf8) + [0], at: 0)
    case .zstd: return contains([0x28, 0xB5, 0x2F, 0xFD], at: 0)
    case .lz4: return contains([0x04, 0x22, 0x4D, 0x18], at: 0)
    case .sevenZip: return contains([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], at: 0)
    case .rar: return contains("Rar!\u{1A}\u{7}")
    case .elf: return contains("\u{7F}ELF")
    case .pdf: return contains("%PDF-")
    case .image:
      return contains([0x89] + Array("PNG\r\n".utf8), at: 0) || contains([0xFF, 0xD8, 0xFF], at: 0)
        || contains("GIF8")
    case .empty, .gitLFSPointer, .xetPointer, .htmlPage, .xml, .index, .json, .textPickle, .text, .npz,
      .keras,
      .zippedModel:
      return false
    }
  }

  /// The format of a text; nil if the bytes are not text.
  private init?(text start: [UInt8]) {
    // A character may be cut at the end of what was read.
    let isCut = start.count >= Self.prefixSize
    let whole = isCut ? Array(start.dropLast(3)) : start
    let end =
      firstInvalidUTF8(start.span).map { isCut && $0 >= whole.count ? whole.count : $0 } ?? start.count
    guard end >= whole.count,
      start.prefix(end).allSatisfy({ $0 >= 0x20 && $0 != 0x7F || 8...13 ~= $0 || $0 == 0x1B })
    else { return nil }
    // A page may begin with a byte order mark or blank lines.
    let text = start.drop { $0 <= 0x20 || [0xEF, 0xBB, 0xBF].contains($0) }
    let lowercase = text.map { 0x41...0x5A ~= $0 ? $0 | 0x20 : $0 }
    func begins(_ words: String...) -> Bool { words.contains { lowercase.starts(with: $0.utf8) } }
    if begins("version https://git-lfs") {
      self = .gitLFSPointer
    } else if begins("# xet version") {
      self = .xetPointer
    } else if begins("<!doctype", "<html", "<head", "<body") {
      self = .htmlPage
    } else if begins("<") {
      self = .xml
    } else if begins("{", "[") {
      let mark = Array("\"weight_map\"".utf8)
      self = lowercase.indices.contains { lowercase[$0...].starts(with: mark) } ? .index : .json
    } else if begins("(dp", "(lp", "(ip", "ccopy_reg\n", "c__", "ctorch", "cnumpy", "(tp") {
      self = .textPickle
    } else {
      self = .text
    }
  }

  private func isASCII(_ byte: UInt8) -> Bool { 0x20..<0x7F ~= byte }
}

extension ForeignFormat: CustomStringConvertible {
  /// One clause for a message, with the remedy.
  package var description: String {
    switch self {
    case .empty: "this file is empty: download it again"
    case .zeros:
      "this file holds only zeros: the download did not finish; download it again"
    case .gitLFSPointer: "this is a Git LFS pointer, not the model: run 'git lfs pull' in its repository"
    case .xetPointer: "this is a xet pointer, not the model: download it with 'hf download'"
    case .htmlPage: "this is an HTML page, not a model: the download went to an error or login page"
    case .xml: "this is XML text, not a model: the download may have got a server's error"
    case .index:
      "this is JSON text with a weight_map; an index must be named like model.safetensors.index.json"
    case .json: "this is JSON text, not a model: the download may have got a server's error"
    case .textPickle: Self.pickle.description
    case .text: "this is text, not a model: the download may have got a server's error"
    case .zip: "this is a zip archive, but not one of PyTorch's: no data.pkl is in it"
    case .npz: "this is a zip archive of NumPy arrays (.npz): save them with safetensors.numpy.save_file"
    case .keras: "this is a zip archive of Keras: save its weights with safetensors.numpy.save_file"
    case .zippedModel: "this is a zip archive with a model in it: unzip it first"
    case .pickle:
      "this is a bare Python pickle, not a file of torch.save; what it holds cannot be told without running it"
    case .gguf: "this is a GGUF model, not safetensors"
    case .ggml: "this is a GGML model, as of whisper.cpp, not safetensors"
    case .hdf5: "this is an HDF5 file, not safetensors"
    case .npy: "this is a NumPy array, not safetensors; stpack packs .npy files"
    case .onnx: "this is an ONNX model, not safetensors"
    case .tfLite: "this is a TensorFlow Lite model, not safetensors"
    case .messagePack:
      "this is MessagePack, as Flax writes (.msgpack): convert it with transformers' from_flax=True"
    case .cTranslate2: "this is a CTranslate2 model, not safetensors: name the model it was converted from"
    case .tar: "this is a tar archive, as NeMo's are (.nemo): unpack it first with 'tar -xf'"
    case .gzip: "this is gzip-compressed: decompress it first"
    case .bzip2: "this is bzip2-compressed: decompress it first"
    case .xz: "this is xz-compressed: decompress it first"
    case .zstd: "this is Zstandard-compressed: decompress it first"
    case .lz4: "this is LZ4-compressed: decompress it first"
    case .sevenZip: "this is a 7z archive: unpack it first"
    case .rar: "this is a RAR archive: unpack it first"
    case .elf: "this is a program or library (ELF), not a model"
    case .pdf: "this is a PDF document, not a model"
    case .image: "this is an image (PNG, JPEG or GIF), not a model"
    }
  }

  private static let textSuffixes = [
    ".json", ".jsonl", ".py", ".txt", ".md", ".yaml", ".yml", ".toml", ".xml", ".html", ".csv", ".sh", ".log",
  ]

  /// As ``description``, followed by the beginning of a text, escaped: a server's error names the cause. A text in a file that
  /// is named as one (`config.json`) is no failed download.
  package func description(of start: [UInt8], in fileName: [UInt8] = []) -> String {
    switch self {
    case .htmlPage, .xml, .json, .text:
      let name = String(decoding: fileName, as: UTF8.self).lowercased()
      if Self.textSuffixes.contains(where: name.hasSuffix) {
        return "this is text, not a model: name the model's file or directory"
      }
      let line = start.drop { $0 <= 0x20 }.prefix { $0 >= 0x20 }
      return "\(description); it begins \(PrintableText.quoted(line.prefix(80)))"
    default: return description
    }
  }
}
