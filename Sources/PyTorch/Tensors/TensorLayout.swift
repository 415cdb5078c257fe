/// Checks of shapes and strides.
extension TensorReader {
  /// True if a tensor's metadata says that its elements have to be conjugated or negated. Only the presence
  /// of the keys counts, not their values: torch.load treats False as True here.
  mutating func isLazy(_ value: Pickle.Value) -> Bool {
    switch value {
    case .container(let row):
      if let known = metadata[row] { return known }
      let keys = pickle.entries(value)?.map(\.key) ?? []
      let isLazy = keys.contains { pickle.isString($0, "conj") || pickle.isString($0, "neg") }
      metadata[row] = isLazy
      return isLazy
    // A dictionary of an unknown class.
    case .object: return true
    default: return false
    }
  }

  /// The element type in an unsupported call's arguments: that of its storage, or the first dtype.
  func type(of arguments: [Pickle.Value]) -> ElementType? {
    for argument in arguments {
      if case .storage(let row) = argument { return pickle.storages[Int(row)].type }
      if case .dtype(let type)? = pickle.meaning(argument) { return type }
    }
    return nil
  }

  /// The range of a storage in the file.
  func range(of storage: Pickle.Storage, _ storageRow: UInt32, _ row: Int, _ name: [UInt8])
    throws(FormatError) -> Range<UInt64>
  {
    let root = storage.root < 0 ? Int(storageRow) : Int(storage.root)
    guard let whole = storages[root] else { throw error(row, name, "refers to a missing storage") }
    let width = storage.type.byteCount
    let (start, isFar) = storage.start.multipliedReportingOverflow(by: width)
    let (size, isLarge) = storage.count.multipliedReportingOverflow(by: width)
    let available = whole.upperBound - whole.lowerBound
    guard !isFar, !isLarge, start <= available, size <= available - start else {
      throw error(row, name, "has a storage with fewer bytes than declared")
    }
    return whole.lowerBound + start..<whole.lowerBound + start + size
  }

  /// Adds the layout given by two tuples of numbers.
  mutating func layout(_ tuples: Tuples, _ row: Int, _ name: [UInt8], _ table: inout TensorTable)
    throws(FormatError) -> UInt32
  {
    guard let shape = counts(tuples.shape), let strides = counts(tuples.strides), shape.count == strides.count
    else {
      throw error(row, name, "has an invalid offset, shape or strides")
    }
    room -= 2 * shape.count
    guard room >= 0 else {
      throw error(row, name, "has far more dimensions than the file's size allows")
    }
    guard let layout = TensorTable.Layout(shape, strides, start: table.dimensions.count) else {
      throw error(row, name, "exceeds its storage, or the maximum size of a file")
    }
    table.dimensions += shape
    table.dimensions += strides
    table.layouts.append(layout)
    return UInt32(table.layouts.count - 1)
  }

  /// The numbers of a tuple; nil for a negative number or anything else.
  private func counts(_ row: UInt32) -> [UInt64]? {
    let container = pickle.containers[Int(row)]
    guard container.kind != .dictionary, container.count <= Self.maximumRank else { return nil }
    var counts: [UInt64] = []
    for item in pickle.items(of: row) {
      guard let count = pickle.count(item) else { return nil }
      counts.append(count)
    }
    return counts
  }

  /// The range of the file that a tensor covers. Nil if it exceeds `storage`, or if the tensor's size does
  /// not fit into 63 bits.
  static func range(
    _ offset: UInt64, _ layout: TensorTable.Layout, _ width: UInt64, in storage: Range<UInt64>
  )
    -> Range<UInt64>?
  {
    if layout.elements == 0 { return storage.lowerBound..<storage.lowerBound }
    let (size, isLarge) = layout.elements.multipliedReportingOverflow(by: width)
    let (last, isFar) = offset.addingReportingOverflow(layout.reach)
    let elements = (storage.upperBound - storage.lowerBound) / width
    guard !isLarge, !isFar, size <= UInt64(Int64.max), last < elements else { return nil }
    return storage.lowerBound + offset * width..<storage.lowerBound + (last + 1) * width
  }
}

extension TensorTable.Layout {
  /// Nil if the number of elements, or the index of the last one, overflows.
  init?(_ shape: [UInt64], _ strides: [UInt64], start: Int) {
    var product: UInt64 = 1
    for count in shape where count > 0 {
      let (next, isLarge) = product.multipliedReportingOverflow(by: count)
      if isLarge { return nil }
      product = next
    }
    self.start = UInt32(start)
    rank = UInt32(shape.count)
    elements = shape.contains(0) ? 0 : product
    (reach, isContiguous) = (0, true)
    if elements == 0 { return }
    var expected: UInt64 = 1
    for (count, stride) in zip(shape, strides).reversed() where count != 1 {
      let (distance, isFar) = (count - 1).multipliedReportingOverflow(by: stride)
      let (sum, isFarther) = reach.addingReportingOverflow(distance)
      if isFar || isFarther { return nil }
      reach = sum
      if stride != expected { isContiguous = false }
      // Cannot overflow: it is at most the product.
      expected *= count
    }
  }
}
