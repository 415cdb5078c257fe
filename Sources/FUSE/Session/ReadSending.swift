internal import Glibc
internal import Linux
internal import SystemPackage

extension SessionContext {
  /// Replies of this size or more are sent from the source's mapping, uncopied. Shorter ones are copied and checked before sending,
  /// which is as fast. docs/internals/read-path.md has the measurements.
  private static let longAnswer = 64 << 10

  /// Sends what a handler has returned. Before anything touches a source that may not be in memory, another worker receives.
  func send(_ answer: ReadAnswer, _ reply: consuming Reply) throws(Errno) {
    counters.countRead(answer.count)
    switch answer {
    case .bytes(let bytes):
      // Unsafe only of elements with padding, which a byte has not.
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
        // Which of them has failed is not known; one that has changed says so itself.
        if sources.allSatisfy({ $0.isUnchanged() }) { sources.first?.failed(error) }
        throw .ioError
      }
      guard sources.allSatisfy({ $0.isUnchanged() }) else { throw .ioError }
      reply.bytes(buffer.bytes)
    }
  }

  /// Sends bytes of a source as they are.
  private func send(
    _ source: some ReplySource, _ range: Range<UInt64>, _ reply: consuming Reply
  ) throws(Errno) {
    if maps(range), let mapped = source.mappedBytes(range), isReady(range, of: source) {
      guard source.isUnchanged() else { throw .ioError }
      let problem = reply.bytes(mapped)
      // The kernel has copied from the file's own pages after they were checked. Should they have changed meanwhile, what
      // it got must not stay in its cache.
      if source.isUnchanged(), problem != nil {
        // A page that could not be read, as a rule, and reading it again tells why. libfuse does not.
        _ = try? copy(range, of: source)
      }
      return
    }
    let buffer = try copy(range, of: source)
    reply.bytes(buffer.bytes)
  }

  /// Bytes in memory of their own, of a source that was unchanged afterwards.
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

  /// True if bytes may be sent from the mapping. What is not in memory is better read: the kernel then fetches it in large
  /// requests, and from the mapping a page at each fault.
  private func isReady(_ range: Range<UInt64>, of source: some ReplySource) -> Bool {
    if !source.isRemote, CachedPages.areResident(range, of: source.descriptor) { return true }
    prepareToWait()
    guard options.readSource == .mapping else { return false }
    source.announce(range)
    return true
  }
}
