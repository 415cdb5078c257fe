import Fixtures
import Glibc
import SystemPackage
import Testing

/// The commands and files of docs/VIEWS.md.
struct Recipes {
  /// A command line and its output.
  struct Step {
    let section: String
    let command: String
    var output: [Substring] = []
  }

  /// Files in the text: code blocks whose first line has the language and the file name.
  var files: [(name: String, text: String)] = []
  /// The commands of the console blocks, in order.
  var steps: [Step] = []

  init(_ text: String) {
    var section = ""
    /// The words after the backquotes of the current block; nil outside of blocks.
    var block: [Substring]?
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("```") {
        block = block == nil ? line.dropFirst(3).split(separator: " ") : nil
        if let block, block.count == 2 { files.append((String(block[1]), "")) }
      } else if let block, block.count == 2 {
        files[files.count - 1].text += line + "\n"
      } else if block == ["console"], line.hasPrefix("$ ") {
        steps.append(Step(section: section, command: String(line.dropFirst(2))))
      } else if block == ["console"], !steps.isEmpty {
        steps[steps.count - 1].output.append(line)
      } else if line.hasPrefix("### ") {
        section = String(line.dropFirst(4))
      }
    }
  }
}

extension MountTests {
  /// Runs the commands of docs/VIEWS.md. Fails if a tool is missing.
  @Suite struct ViewRecipeTests {
    private func bfloat16(_ values: [Float]) -> [UInt8] {
      values.flatMap { [UInt8(truncatingIfNeeded: $0.bitPattern >> 16), UInt8($0.bitPattern >> 24)] }
    }

    private var model: SafetensorsFile {
      let tone = (0..<8000).map { Float(0.5 * sin(2 * Double.pi * 440 * Double($0) / 8000)) }
      return SafetensorsFile(
        [
          .init("layer.weight", "BF16", [2, 3], data: bfloat16([0.5, 1, 1.5, 2, -2.5, 3])),
          .init("tone", "BF16", [8000], data: bfloat16(tone)),
        ], metadata: ["format": "pt"])
    }

    /// The same weight in FP8. 0.5 is 0x30 at a scale of 1.
    private var quantized: SafetensorsFile {
      SafetensorsFile(
        .init("layer.weight", "F8_E4M3", [2, 3], data: [0x30, 0x38, 0x3C, 0x40, 0xC2, 0x44]),
        .init("layer.weight_scale_inv", "F32", [1, 1], data: [0, 0, 0x80, 0x3F]))
    }

    @Test("Every command of docs/VIEWS.md prints the output shown there")
    func recipes() async throws {
      let text = try OpenFile(Reference.root.appending("docs").appending("VIEWS.md")).bytes()
      let recipes = Recipes(String(decoding: text, as: UTF8.self))
      try #require(recipes.steps.count >= 15 && recipes.files.count >= 2, "the text is not understood")
      let directory = try TemporaryDirectory()
      let source = try directory.write("model.safetensors", model)
      for file in recipes.files { try directory.write(file.name, text: file.text) }
      let other = try directory.write("q.safetensors", quantized)
      _ = try Machine.stls
      let commands = try Machine.stmount.removingLastComponent()
      // A recipe that fails leaves its mount behind.
      defer { _ = unsafe umount2("\(directory.path)/s", Int32(MNT_DETACH)) }
      try await withMount(source) { mount in
        try await withMount(other) { quantized in
          try directory.makeLink("q", to: "\(quantized.path)")
          try directory.makeLink("m", to: "\(mount.path)")
          for step in recipes.steps {
            let outcome = try await Command.run(
              "bash", ["-c", "PATH=\(Reference.environment):\(commands):$PATH; \(step.command)"],
              directory: directory.path)
            #expect(outcome.status == 0, "\(step.section): \(step.command): \(outcome.error)")
            let lines = outcome.text.split(separator: "\n", omittingEmptySubsequences: false)
            #expect((lines == [""] ? [] : lines) == step.output, "\(step.section): \(step.command)")
          }
        }
      }
    }
  }
}
