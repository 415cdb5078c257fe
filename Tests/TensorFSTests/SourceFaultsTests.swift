import FUSE
import Fixtures
import Logging
import Synchronization
import Testing

@testable import Models
@testable import TensorFS

@Suite("Changed sources") struct SourceFaultsTests {
  @Test("Cached pages of a changed source are dropped once; if that fails, the next read tries again")
  func retries() throws {
    let sample = try SampleModel(SafetensorsFile(.init("t", "U8", [1])))
    let file = try sample.model.shards[0].file
    let faults = SourceFaults(log: Logger(label: "test"))
    faults.add { _, body in body(.root) }
    let attempts = Mutex(0)
    faults.whenSourceChanges { inodes in
      var found: [InodeNumber] = []
      inodes { found.append($0) }
      #expect(found == [.root])
      return attempts.withLock { attempts in
        attempts += 1
        return attempts == 3
      }
    }
    for expected in [1, 2, 3, 3, 3] {
      faults.notice(.contents, of: file)
      #expect(attempts.withLock { $0 } == expected)
    }
  }
}
