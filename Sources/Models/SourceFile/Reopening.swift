internal import Linux
internal import Synchronization
internal import SystemPackage

/// Files that are opened when they are read, since a directory can have more of them than a process can open.
///
/// Those that were opened last stay open: a file is read in several pieces.
final class Reopening: Sendable {
  /// How many stay open. A thread reads a tensor and, if it is quantised, scales and zero points.
  private static let limit = 4 * ParallelWork.width

  /// Opens the file of a number.
  private let open: @Sendable (Int) throws(ModelError) -> SourceFile
  /// The last one was opened last.
  private let recent = Mutex<[(number: Int, file: SourceFile)]>([])

  init(by open: @escaping @Sendable (Int) throws(ModelError) -> SourceFile) { self.open = open }

  /// The open file of a number, which must be the one that had this status. Throws ESTALE if it is another one.
  func file(_ number: Int, openedAs status: Stat) throws(Errno) -> SourceFile {
    if let known = recent.withLock({ $0.last { $0.number == number } }) { return known.file }
    let file: SourceFile
    do throws(ModelError) {
      file = try open(number)
    } catch {
      throw error.errno ?? .staleNFSFileHandle
    }
    guard file.isOpenedAs(status) else { throw .staleNFSFileHandle }
    recent.withLock { recent in
      if recent.count >= Self.limit { recent.removeFirst() }
      recent.append((number, file))
    }
    return file
  }
}
