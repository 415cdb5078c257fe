import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// The manual pages.
  @Suite struct ManualTests {
    private static let pages = [
      "stmount.1", "stls.1", "stcat.1", "stdiff.1", "stpack.1", "stunpack.1", "mount.stmount.8",
    ]

    private func page(_ name: String) -> FilePath { Machine.repository.appending("docs/man").appending(name) }

    @Test("mandoc and man report no problems", arguments: pages)
    func lint(name: String) async throws {
      // Pages that the manual refers to need not be installed here.
      let mandoc = try await Command.run("mandoc", ["-T", "lint", "\(page(name))"])
      let complaints = mandoc.text.split(separator: "\n").filter {
        !$0.contains("referenced manual not found")
      }
      #expect(complaints.isEmpty, "\(complaints)")
      let man = try await Command.run(
        "env", ["LC_ALL=C.UTF-8", "man", "--warnings", "-E", "UTF-8", "-l", "\(page(name))"])
      #expect(man.status == 0 && man.error.isEmpty && man.text.contains("EXIT STATUS"), "\(man.error)")
    }

    @Test("Each page has the usual sections", arguments: pages)
    func sections(name: String) throws {
      let text = String(decoding: try OpenFile(page(name)).bytes(), as: UTF8.self)
      for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
        #expect(text.contains("\n.Sh \(section)\n"), "\(section)")
      }
      #expect(text.contains("\n.Sh SECURITY"))
    }

    @Test(
      "--help and the manual have the same options",
      arguments: ["stmount", "stls", "stcat", "stdiff", "stpack", "stunpack"])
    func options(command: String) async throws {
      let program = try Machine.link(command)
      let help = try await Command.output(of: "\(program)", "--help")
      let manual = try await Command.output(
        of: "env", "MANWIDTH=80", "mandoc", "-T", "ascii", "\(page(command + ".1"))")
      // mandoc writes bold letters twice, with a backspace between them.
      let plain = manual.replacing(/.\u{8}/, with: "")
      func options(_ text: String, _ start: Regex<Substring>) -> Set<String> {
        var found: Set<String> = []
        for line in text.split(separator: "\n") where line.firstMatch(of: start) != nil {
          for match in line.matches(of: /--[a-z][a-z-]+/) { found.insert(String(match.output)) }
        }
        return found
      }
      let inHelp = options(help, /^  -/)
      #expect(inHelp.count > 3)
      #expect(inHelp == options(plain, /^ {5}-/))
    }

    @Test("Every mount option in the sources is in the manual")
    func mountOptions() throws {
      let manual = String(decoding: try OpenFile(page("stmount.1")).bytes(), as: UTF8.self)
      var names: [Substring] = []
      for source in ["Sources/FUSE/Mounting/MountOptions.swift", "Sources/Commands/stmount/Invocation.swift"]
      {
        let text = String(decoding: try OpenFile(Machine.repository.appending(source)).bytes(), as: UTF8.self)
        names += text.matches(of: /case \("([a-z_]+)", (?:nil|let)/).map(\.output.1)
      }
      #expect(names.count > 10)
      for name in names where name != "exec" {
        #expect(manual.contains(try Regex("(?m)^\\.It Cm (.* )?\(name)( |$)")), "\(name)")
      }
    }
  }
}
