import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Linux

@Suite("Worker threads") struct LeastPrivilegeTests {
  @Test(
    "Confined threads cannot open files, but can read open files and their paths; other threads are not confined"
  )
  func confined() async {
    await #expect(processExitsWith: .success) {
      let file = try FileDescriptor.open(FilePath("/etc/passwd"), .readOnly)
      let problems = Mutex<[String]>([])
      let thread = WorkerThread {
        var found: [String] = []
        // On a kernel without Landlock, nothing else may change.
        let isConfined = LeastPrivilege.confineThread()
        let modules = TextFile.lines("/sys/kernel/security/lsm").first ?? ""
        if !isConfined, modules.contains("landlock") {
          found.append("there is Landlock, and it was not used")
        }
        for path in ["/etc/passwd", "/proc/self/mountinfo", "/dev/null", "/"] {
          let result = unsafe open(path, O_RDONLY)
          if (result < 0 && errno == EACCES) != isConfined { found.append("open of \(path): \(result)") }
        }
        var link = [CChar](repeating: 0, count: 100)
        if unsafe readlink("/proc/self/fd/\(file.rawValue)", &link, 99) != 11 { found.append("readlink") }
        var byte: UInt8 = 0
        if unsafe pread(file.rawValue, &byte, 1, 0) != 1 { found.append("pread") }
        problems.withLock { $0 = found }
      }
      try #require(thread).join()
      #expect(problems.withLock { $0 } == [])
      try FileDescriptor.open(FilePath("/etc/passwd"), .readOnly).close()
    }
  }
}
