internal import Safetensors

/// A name that several tensors of a PyTorch file share, because of keys such as 0 and '0'.
struct NameClash {
  let name: [UInt8]
  /// The number of tensors that share the name.
  let count: Int
  /// The new name of the first tensor.
  let first: [UInt8]

  /// The maximum number of names with a line of their own.
  private static let named = 10

  /// Warnings, one line each; safe to print.
  static func notes(of clashes: [NameClash]) -> [String] {
    var lines = clashes.prefix(named).map { clash in
      "\(clash.count) tensors share the name \(PrintableText.quoted(clash.name)) (keys such as 0 and '0'); shown as "
        + "\(PrintableText.quoted(clash.first)) and so on"
    }
    if clashes.count > named {
      lines.append("\(PrintableText.counted(clashes.count - named, "more name")) with several tensors each")
    }
    return lines
  }
}

extension Header {
  /// Renames tensors that share a name to `NAME~1`, `NAME~2` and so on, in the order of `records`: any choice of one of
  /// them would be a guess. Equal records of one name count as one tensor.
  ///
  /// `records` must be sorted by name, and are sorted by name afterwards. Returns nil if the names have more than 4 GiB.
  static func renameClashes(_ records: inout [Record], _ text: inout [UInt8], _ dimensions: [UInt64])
    -> [NameClash]?
  {
    var clashes: [NameClash] = []
    var kept: [Record] = []
    kept.reserveCapacity(records.count)
    var position = 0
    while position < records.count {
      let start = position
      position += 1
      while position < records.count, records[position].name(in: text) == records[start].name(in: text) {
        position += 1
      }
      if position == start + 1 {
        kept.append(records[start])
        continue
      }
      var seen: Set<Identity> = []
      let different = records[start..<position].filter {
        seen.insert(Identity($0, dimensions)).inserted
      }
      if different.count == 1 {
        kept += different
        continue
      }
      let name = Array(records[start].name(in: text))
      var number = 0
      var first: [UInt8] = []
      for var record in different {
        var own: [UInt8]
        repeat {
          number += 1
          own = name + Array("~\(number)".utf8)
        } while contains(own[...], records, text)
        guard let nameStart = UInt32(exactly: text.count), let nameCount = UInt32(exactly: own.count) else {
          return nil
        }
        (record.nameStart, record.nameCount) = (nameStart, nameCount)
        text += own
        kept.append(record)
        if first.isEmpty { first = own }
      }
      clashes.append(NameClash(name: name, count: different.count, first: first))
    }
    if !clashes.isEmpty { kept.sort { compareBytes($0.name(in: text), $1.name(in: text)) < 0 } }
    records = kept
    return clashes
  }

  /// True if one of the records, which are sorted by name, has this name.
  private static func contains(_ name: ArraySlice<UInt8>, _ records: [Record], _ text: [UInt8]) -> Bool {
    let index = records.partitionPoint { compareBytes($0.name(in: text), name) < 0 }
    return index < records.count && records[index].name(in: text) == name
  }
}

/// The parts of a record that decide whether two tensors are the same.
private struct Identity: Hashable {
  private let dtype: DType
  private let bytes: Range<UInt64>
  /// The shape, and the strides of a tensor that is not contiguous.
  private let numbers: ArraySlice<UInt64>
  private let rank: UInt32

  init(_ record: Header.Record, _ dimensions: [UInt64]) {
    dtype = record.dtype
    bytes = record.begin..<record.end
    rank = record.shapeCount
    let count = Int(record.shapeCount) * (record.isStrided ? 2 : 1)
    numbers = dimensions[Int(record.shapeStart)..<Int(record.shapeStart) + count]
  }
}
