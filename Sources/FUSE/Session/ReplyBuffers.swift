internal import Synchronization

/// Memory that answers are copied into. It is kept from one answer to the next, since new memory costs a page fault for each
/// page, and those cost more than the copy.
final class ReplyBuffers: Sendable {
  /// The size in bytes: the longest possible request. The system allocates its pages only when they are written.
  private static let usualSize = 512 << 10

  @safe fileprivate struct Block: @unchecked Sendable {
    let memory: UnsafeMutableRawBufferPointer
  }
  /// Two: more are rarely in use at a time, and each keeps as many pages as its longest answer had.
  private let kept = Mutex<InlineArray<2, Block?>>(InlineArray(repeating: nil))

  deinit { while let block = takeKept() { unsafe block.memory.deallocate() } }

  /// Memory for an answer of `count` bytes, uninitialised.
  func take(_ count: Int) -> ReplyBuffer {
    var block = takeKept()
    if let small = block, unsafe small.memory.count < count {
      unsafe small.memory.deallocate()
      block = nil
    }
    return ReplyBuffer(block ?? Self.newBlock(count), count, from: self)
  }

  private static func newBlock(_ count: Int) -> Block {
    unsafe Block(memory: .allocate(byteCount: max(count, usualSize), alignment: 4096))
  }

  private func takeKept() -> Block? {
    kept.withLock { blocks in
      for index in blocks.indices {
        if let block = blocks[index].take() { return block }
      }
      return nil
    }
  }

  fileprivate func giveBack(_ block: Block) {
    let isKept = kept.withLock { blocks in
      for index in blocks.indices where blocks[index] == nil {
        blocks[index] = block
        return true
      }
      return false
    }
    if !isKept { unsafe block.memory.deallocate() }
  }
}

/// Memory for one answer.
@safe struct ReplyBuffer: ~Copyable {
  private let block: ReplyBuffers.Block
  private let count: Int
  private let origin: ReplyBuffers

  fileprivate init(_ block: ReplyBuffers.Block, _ count: Int, from origin: ReplyBuffers) {
    self.block = block
    self.count = count
    self.origin = origin
  }

  deinit { origin.giveBack(block) }

  /// What is written there.
  var bytes: RawSpan {
    @_lifetime(borrow self)
    borrowing get {
      let bytes = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: block.memory[..<count]))
      return unsafe _overrideLifetime(bytes, borrowing: self)
    }
  }

  /// The memory, to be written to.
  var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let bytes = unsafe MutableRawSpan(
        _unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: block.memory[..<count]))
      return unsafe _overrideLifetime(bytes, mutating: &self)
    }
  }
}
