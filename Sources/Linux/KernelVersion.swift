internal import Glibc

/// The version of the running kernel: uname(2).
package enum KernelVersion {
  /// The release, such as `6.12.9-arch1`.
  package static var release: String {
    var names = utsname()
    unsafe uname(&names)
    return unsafe withUnsafeBytes(of: names.release) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  /// The first two numbers of the release; zeros if it has another form.
  package static var numbers: (major: Int, minor: Int) {
    let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
  }
}
