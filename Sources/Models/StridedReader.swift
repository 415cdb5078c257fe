internal import Glibc
package import Safetensors
package import SystemPackage

/// Reads a tensor whose elements are not contiguous in the file, in row-major order.
///
/// Reads only with pread(2), and with at most ``largestSpan`` of memory besides the target, for any strides.
package struct StridedReader: Sendable {
  /// A dimension: the number of runs, and their distance in the file in bytes.
  private struct Axis: Sendable {
    var count: UInt64
    var stride: UInt64
    /// The distance of the runs in the tensor, in bytes.
    var step: UInt64
  }

  /// The axes, outermost first, without those of length 1 and those that can be merged.
  private var axes: [Axis] = []
  /// The number of bytes that are contiguous in the file too; at least one element.
  private let run: UInt64
  private let start: UInt64

  /// The maximum number of bytes read at once to pick from.
  private static let largestSpan: UInt64 = 1 << 20
  /// The cost of another pread(2), half a microsecond, in bytes that could be read instead.
  private static let readCost: UInt64 = 4096

  /// A reader of a tensor whose first element is at `start` of the file.
  package init(_ tensor: Tensor, at start: UInt64) {
    self.start = start
    let bits = tensor.dtype.bitSize
    var run: UInt64 = 1
    var axes: [(count: UInt64, stride: UInt64)] = []
    for (count, stride) in zip(tensor.shape, tensor.strides ?? []).reversed() where count != 1 {
      if axes.isEmpty, stride == run {
        // Cannot overflow, here and below: the tensor's size fits into 63 bits, and all its elements are inside the
        // file.
        run *= count
      } else if let last = axes.last, stride == last.count &* last.stride {
        axes[axes.count - 1].count *= count
      } else {
        axes.append((count, stride))
      }
    }
    // Elements narrower than a byte are contiguous within a byte.
    self.run = run * bits / 8
    var step = self.run
    for (count, stride) in axes {
      self.axes.append(Axis(count: count, stride: stride * bits / 8, step: step))
      step *= count
    }
    self.axes.reverse()
  }

  /// Fills `target` with bytes from `offset` of the tensor on.
  package func read(from offset: UInt64, of file: SourceFile, into target: inout MutableRawSpan) throws(Errno)
  {
    let end = offset + UInt64(target.byteCount)
    guard offset < end else { return }
    // Partial runs at the beginning and the end, whole runs between them.
    let first = (offset + run - 1) / run
    let last = end / run
    if first > last {
      try piece(of: offset / run, offset % run..<end - offset / run * run, file, &target, at: 0)
      return
    }
    if offset % run != 0 { try piece(of: first - 1, offset % run..<run, file, &target, at: 0) }
    if end % run != 0 { try piece(of: last, 0..<end % run, file, &target, at: Int(last * run - offset)) }
    try boxes(first..<last, axis: 0, source: start, file, &target, at: Int(first * run - offset))
  }

  /// A part of one run.
  private func piece(
    of index: UInt64, _ part: Range<UInt64>, _ file: SourceFile, _ target: inout MutableRawSpan,
    at position: Int
  ) throws(Errno) {
    var rest = index * run
    var source = start
    for axis in axes {
      source += rest / axis.step * axis.stride
      rest %= axis.step
    }
    var slot = target._mutatingExtracting(position..<position + part.count)
    try file.read(from: source + part.lowerBound, into: &slot)
  }

  /// Runs `range`, counted from the beginning of axis `axis`, as boxes: one box of all complete indices, and the
  /// rest before and after it.
  private func boxes(
    _ range: Range<UInt64>, axis: Int, source: UInt64, _ file: SourceFile, _ target: inout MutableRawSpan,
    at position: Int
  ) throws(Errno) {
    guard !range.isEmpty else { return }
    guard axis < axes.count else {
      try box([], source: source, file, &target, at: position)
      return
    }
    let inner = axes[axis].step / run
    let stride = axes[axis].stride
    let first = (range.lowerBound + inner - 1) / inner
    let last = range.upperBound / inner
    if first > last {
      let row = last
      try boxes(
        range.lowerBound - row * inner..<range.upperBound - row * inner, axis: axis + 1,
        source: source + row * stride, file, &target, at: position)
      return
    }
    if range.lowerBound < first * inner {
      try boxes(
        range.lowerBound - (first - 1) * inner..<inner, axis: axis + 1, source: source + (first - 1) * stride,
        file,
        &target, at: position)
    }
    if first < last {
      var whole = Array(axes[axis...])
      whole[0].count = last - first
      // From the widest stride to the narrowest, so that neighbours in the file are read together.
      whole.sort { $0.stride > $1.stride }
      try box(
        whole[...], source: source + first * stride, file, &target,
        at: position + Int((first * inner - range.lowerBound) * run))
    }
    if last * inner < range.upperBound {
      try boxes(
        0..<range.upperBound - last * inner, axis: axis + 1, source: source + last * stride, file, &target,
        at: position + Int((last * inner - range.lowerBound) * run))
    }
  }

  /// All runs of some axes: with one read if they are close together, otherwise one read for each index of the
  /// first axis.
  private func box(
    _ axes: ArraySlice<Axis>, source: UInt64, _ file: SourceFile, _ target: inout MutableRawSpan,
    at position: Int
  ) throws(Errno) {
    guard let axis = axes.first else {
      var slot = target._mutatingExtracting(position..<position + Int(run))
      try file.read(from: source, into: &slot)
      return
    }
    // Cannot overflow: all elements are inside the file.
    let inner = axes.dropFirst().reduce(run) { $0 + ($1.count - 1) * $1.stride }
    let isClose =
      inner <= Self.largestSpan && (inner + (axis.count - 1) * axis.stride) / axis.count <= Self.readCost
    // Take as many indices as fit into one read.
    let fitting =
      axis.stride == 0 ? axis.count : (Self.largestSpan - min(inner, Self.largestSpan)) / axis.stride + 1
    var index: UInt64 = 0
    while index < axis.count {
      let here = position + Int(index * axis.step)
      if isClose {
        var part = axes
        part[part.startIndex].count = min(fitting, axis.count - index)
        let span = inner + (part[part.startIndex].count - 1) * axis.stride
        let bytes = try file.read(from: source + index * axis.stride, count: Int(span))
        unsafe pick(part, from: bytes.span.bytes, at: 0, &target, at: here)
        index += part[part.startIndex].count
      } else {
        try box(axes.dropFirst(), source: source + index * axis.stride, file, &target, at: here)
        index += 1
      }
    }
  }

  /// Copies all runs of some axes from the buffer into place.
  private func pick(
    _ axes: ArraySlice<Axis>, from source: RawSpan, at sourcePosition: Int, _ target: inout MutableRawSpan,
    at position: Int
  ) {
    guard let axis = axes.first else {
      unsafe source.withUnsafeBytes { source in
        unsafe target.withUnsafeMutableBytes { target in
          let slot = unsafe UnsafeMutableRawBufferPointer(rebasing: target[position..<position + Int(run)])
          unsafe slot.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: source[sourcePosition..<sourcePosition + Int(run)]))
        }
      }
      return
    }
    if axes.count == 1, run < 16 {
      pickElements(axis, from: source, at: sourcePosition, &target, at: position)
      return
    }
    for index in 0..<Int(axis.count) {
      pick(
        axes.dropFirst(), from: source, at: sourcePosition + index * Int(axis.stride), &target,
        at: position + index * Int(axis.step))
    }
  }

  /// The innermost loop over single elements, in words of their size if there are such words.
  private func pickElements(
    _ axis: Axis, from source: RawSpan, at sourcePosition: Int, _ target: inout MutableRawSpan,
    at position: Int
  ) {
    switch run {
    case 1: pickWords(UInt8.self, axis, source, sourcePosition, &target, position)
    case 2: pickWords(UInt16.self, axis, source, sourcePosition, &target, position)
    case 4: pickWords(UInt32.self, axis, source, sourcePosition, &target, position)
    case 8: pickWords(UInt64.self, axis, source, sourcePosition, &target, position)
    default:
      for index in 0..<Int(axis.count) {
        pick(
          [], from: source, at: sourcePosition + index * Int(axis.stride), &target,
          at: position + index * Int(axis.step))
      }
    }
  }

  private func pickWords<Word: FixedWidthInteger & BitwiseCopyable>(
    _ type: Word.Type, _ axis: Axis, _ source: RawSpan, _ sourcePosition: Int, _ target: inout MutableRawSpan,
    _ position: Int
  ) {
    let (count, stride, step) = (Int(axis.count), Int(axis.stride), Int(axis.step))
    // Both ends are in bounds: the buffer has exactly the bytes that the axes reach, and the target those that they fill.
    precondition(sourcePosition + (count - 1) * stride + MemoryLayout<Word>.size <= source.byteCount)
    precondition(position + (count - 1) * step + MemoryLayout<Word>.size <= target.byteCount)
    unsafe source.withUnsafeBytes { source in
      unsafe target.withUnsafeMutableBytes { target in
        guard let source = source.baseAddress, let target = target.baseAddress else { return }
        for index in 0..<count {
          let word = unsafe source.loadUnaligned(
            fromByteOffset: sourcePosition &+ index &* stride, as: Word.self)
          unsafe target.storeBytes(of: word, toByteOffset: position &+ index &* step, as: Word.self)
        }
      }
    }
  }
}
