internal import Glibc
package import Models
internal import Safetensors
internal import SystemPackage

/// The text of a model's `metadata.json`: the contents of its header, and the path of each tensor.
package enum MetadataDocument {
  /// The document as UTF-8 bytes, ending in a newline. One line for each tensor, in the order of their names.
  package static func bytes(of model: Model) -> [UInt8] {
    var json = JSONWriter()
    // Each name occurs twice here, and once in the header; unused capacity costs no memory.
    json.reserve(model.shards.reduce(0) { $0 + 2 * Int($1.header.dataStart) })
    json.raw("{\n  \"format\": ")
    json.string(format(of: model))
    json.raw(",\n")
    let formats = model.quantizationFormats
    if !formats.isEmpty {
      json.list("  \"quantization\": {\"formats\": [", formats, "]},\n") { json, format in json.string(format)
      }
    }
    json.list("  \"sources\": [\n    ", model.storedShards, separator: ",\n    ", "\n  ],\n") { json, shard in
      let status = shard.file.status
      json.raw("{\"name\": ")
      json.string(shard.name)
      json.raw(", \"size\": ")
      json.number(shard.file.size)
      json.raw(", \"mtime\": ")
      json.raw(seconds(status.st_mtim.tv_sec, status.st_mtim.tv_nsec).utf8)
      json.raw("}")
    }
    appendMetadata(of: model, to: &json)
    appendOmissions(of: model, to: &json)
    json.raw(",\n  \"total_size\": ")
    json.number(model.totalSize)
    json.raw(",\n  \"tensors\": {")
    appendTensors(of: model, to: &json)
    json.raw(model.places.isEmpty ? "}\n}\n" : "\n  }\n}\n")
    return json.bytes
  }

  /// The formats of the sources.
  private static func format(of model: Model) -> String {
    Set(model.shards.map(\.format.rawValue)).sorted().joined(separator: ", ")
  }

  /// A time as a number, exact to the nanosecond.
  package static func seconds(_ seconds: Int, _ nanoseconds: Int) -> String {
    // Nanoseconds count forwards, also before 1970: half a second before it is -1 and 500,000,000.
    let isBefore = seconds < 0 && nanoseconds > 0
    let whole = isBefore ? seconds + 1 : seconds
    let fraction = String(isBefore ? 1_000_000_000 - nanoseconds : nanoseconds)
    let sign = isBefore && whole == 0 ? "-" : ""
    return sign + "\(whole)." + String(repeating: "0", count: max(0, 9 - fraction.count)) + fraction
  }

  /// The file's own `__metadata__`; with several files, that of each by the file's name.
  private static func appendMetadata(of model: Model, to json: inout JSONWriter) {
    func append(_ shard: Shard, to json: inout JSONWriter) {
      json.list("{", shard.header.metadata, "}") { json, entry in
        json.string(entry.key)
        json.raw(": ")
        json.string(entry.value)
      }
    }
    json.raw("  \"metadata\": ")
    let shards = model.storedShards
    if shards.count == 1, let shard = shards.first {
      append(shard, to: &json)
    } else {
      json.list("{\n    ", shards, separator: ",\n    ", "\n  }") { json, shard in
        json.string(shard.name)
        json.raw(": ")
        append(shard, to: &json)
      }
    }
  }

  /// The tensors left out of a model with the reasons, and the unknown names in its pickles; nothing if there are
  /// none.
  private static func appendOmissions(of model: Model, to json: inout JSONWriter) {
    if !model.omitted.isEmpty {
      json.list(",\n  \"omitted\": {\n    ", model.omitted, separator: ",\n    ", "\n  }") { json, tensor in
        json.string(tensor.name.utf8)
        json.raw(": ")
        json.string(tensor.reason)
      }
    }
    let globals = model.unknownGlobals
    if !globals.isEmpty {
      json.list(",\n  \"pickle_globals\": [\n    ", globals, separator: ",\n    ", "\n  ]") { json, name in
        json.string(name[...])
      }
    }
  }

  private static func appendTensors(of model: Model, to json: inout JSONWriter) {
    var encoder = PathEncoder()
    let shards = model.shards
    // Written once for each source instead of once for each tensor.
    let sources = shards.map { shard in
      var json = JSONWriter()
      json.string(shard.name)
      return json.bytes
    }
    json.list(model.places.isEmpty ? "" : "\n    ", model.places, separator: ",\n    ", "") { json, place in
      let shard = Int(place.shard)
      let tensor = shards[shard].header[Int(place.index)]
      json.string(tensor.name.utf8)
      let path = encoder.encode(tensor.name).bytes
      json.raw(": {\"path\": ")
      json.string(path[...])
      json.raw(", \"dtype\": \"")
      json.raw(tensor.dtype.name.utf8)
      json.raw("\", \"shape\": ")
      json.list("[", tensor.shape, "]") { json, dimension in json.number(dimension) }
      json.raw(", \"nbytes\": ")
      json.number(tensor.byteCount)
      switch shards[shard].source(of: tensor) {
      case .computed(let quantized, _): append(quantized, of: model, to: &json)
      case .assembled(let assembled, _): append(assembled, of: shards, named: sources, to: &json)
      case .stored(let part):
        var source = sources[shard]
        if case .files = shards[shard].contents {
          // A file of its own, which has the same path.
          var text = JSONWriter()
          text.string(path[...])
          source = text.bytes
        }
        append(tensor, at: part, named: source, to: &json)
      }
      json.raw("}")
    }
  }

  /// The position of a tensor in its file, which has this name.
  private static func append(
    _ tensor: Tensor, at part: FileRange, named name: [UInt8], to json: inout JSONWriter
  ) {
    json.raw(", \"source\": ")
    json.raw(name)
    if let strides = tensor.strides {
      json.raw(", \"strides\": ")
      json.list("[", strides, "]") { json, stride in json.number(stride) }
    }
    json.raw(tensor.isContiguous ? ", \"offset\": " : ", \"origin\": ")
    json.number(part.range.lowerBound)
  }

  /// The slices of a tensor whose bytes are in no one file, each with the index of its first element.
  private static func append(
    _ tensor: AssembledTensor, of shards: [Shard], named names: [[UInt8]], to json: inout JSONWriter
  ) {
    json.list(", \"pieces\": [", tensor.pieces, separator: ", ", "]") { json, piece in
      let shard = Int(piece.place.shard)
      let slice = shards[shard].header[Int(piece.place.index)]
      json.list("{\"start\": [", piece.start, "]") { json, index in json.number(index) }
      json.list(", \"shape\": [", slice.shape, "]") { json, dimension in json.number(dimension) }
      if let part = shards[shard].storedRange(of: slice) {
        append(slice, at: part, named: names[shard], to: &json)
      }
      json.raw("}")
    }
  }

  /// The sources and the formula of a computed tensor.
  private static func append(_ tensor: QuantizedTensor, of model: Model, to json: inout JSONWriter) {
    json.raw(", \"quantization\": {\"format\": ")
    json.string(tensor.format.rawValue)
    json.raw(", \"formula\": ")
    json.string(tensor.format.formula)
    json.list(", \"tensors\": [", model.sourceNames(of: tensor), "]}") { json, name in json.string(name.utf8)
    }
  }
}
