internal import Glibc
internal import Linux
internal import SystemPackage

extension SessionContext {
  /// Replies of at least this size are sent from the source's mapping, without a copy. Shorter ones are
  /// copied and checked first, which is as fast; docs/internals/read-path.md has the measurements.
  private static let longAnswer = 64 << 10

  /// Sends what a handler returned. Hands over receiving to another worker before it may wait for a disk.
  func send(_ answer: ReadAnswer, _ reply: consuming Reply) throws(Errno) {
    counters.countRead(answer.count)
    switch answer {
    case .bytes(let bytes):
      // Unsafe only for elements with padding; bytes have none.
      unsafe reply.bytes(bytes.span.bytes)
    case .source(let source, let range):
      try send(source, range, reply)
    case .computed(let count, let sources, let ranges, let fill):
      if !sources.isEmpty { prepareToWait() }
      for (source, range) in ranges { source.announce(range) }
      var buffer = buffers.take(count)
      do throws(Errno) {
        var target = buffer.mutableBytes
        try fill(&target)
      } catch {
        // It is unknown which source failed. A changed one reports itself.
        if sources.allSatisfy({ $0.isUnchanged() }) { sources.first?.failed(error) }
        throw .ioError
      }
      guard sources.allSatisfy({ $0.isUnchanged() }) else { throw .ioError }
      reply.bytes(buffer.bytes)
    }
  }

  /// Sends a range of a source, unmodified.
  private func send(
    _ source: some ReplySource, _ range: Range<UInt64>, _ reply: consuming Reply
  ) throws(Errno) {
    if maps(range), let mapped = source.mappedBytes(range), isReady(range, of: source) {
      guard source.isUnchanged() else { throw .ioError }
      let problem = reply.bytes(mapped)
      // The kernel has copied from the page cache after the check. If the source changed in between,
      // isUnchanged() drops what the kernel cached.
      if source.isUnchanged(), problem != nil {
        // Usually a page could not be read. libfuse hides the reason, but another read finds it.
        _ = try? copy(range, of: source)
      }
      return
    }
    let buffer = try copy(range, of: source)
    reply.bytes(buffer.bytes)
  }

  /// Copies a range of a source. The source was unchanged after the copy.
  private func copy(_ range: Range<UInt64>, of source: some ReplySource) throws(Errno) -> ReplyBuffer {
    var buffer = buffers.take(range.count)
    var target = buffer.mutableBytes
    var isChecked = false
    if source.isRemote || !CachedPages.read(from: range.lowerBound, of: source.descriptor, into: &target) {
      prepareToWait()
      do throws(Errno) {
        isChecked = try source.read(from: range.lowerBound, into: &target)
      } catch {
        if source.isUnchanged() { source.failed(error) }
        throw .ioError
      }
    }
    guard isChecked || source.isUnchanged() else { throw .ioError }
    return buffer
  }

  private func maps(_ range: Range<UInt64>) -> Bool {
    switch options.readSource {
    case .automatic: range.count >= Self.longAnswer
    case .mapping: true
    case .copy: false
    }
  }

  /// True if a range may be sent from the mapping. Bytes that are not in memory are better read with
  /// pread(2): the kernel then fetches them in large requests, and not page by page.
  private func isReady(_ range: Range<UInt64>, of source: some ReplySource) -> Bool {
    if !source.isRemote, CachedPages.areResident(range, of: source.descriptor) { return true }
    prepareToWait()
    guard options.readSource == .mapping else { return false }
    source.announce(range)
    return true
  }
}
