import Testing

@testable import Models

@Suite("Patterns in configuration files")
struct NamePatternTests {
  @Test(
    "An expression matches the names that Python's re.match matches",
    arguments: [
      (".*self_attn.(q|k|v)_proj$", "model.layers.0.self_attn.k_proj", true),
      (".*self_attn.(q|k|v)_proj$", "model.layers.0.self_attn.o_proj", false),
      (".*self_attn.(q|k|v)_proj$", "model.layers.0.self_attn.k_proj.weight", false),
      ("model", "model.layers", true), ("layers", "model.layers", false), ("", "anything", true),
      (#".*\.mlp\.experts\.\d+\..*"#, "m.mlp.experts.12.up", true),
      (#".*\.mlp\.experts\.\d+\..*"#, "m.mlp.experts.x.up", false),
      ("^(?!.*lm_head).*$", "model.lm_head", false), ("^(?!.*lm_head).*$", "model.head", true),
      ("a{2,3}b", "aab", true), ("a{2,3}b", "ab", false), ("a{2,3}b", "aaaab", false),
      ("(?:x|yz)+?[a-c_]?$", "xyzx_", true), ("[^.]+$", "a.b", false), ("[]a]+$", "]a", true),
      ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false), ("(|a)+$", "aaa", true),
    ])
  func expressions(_ expression: String, _ name: String, _ isMatch: Bool) throws {
    let pattern = try #require(NamePattern(expression))
    #expect(pattern.matchesPrefix(of: Array(name.utf8)[...]) == isMatch)
  }

  @Test(
    "An expression with unsupported syntax is rejected",
    arguments: [
      "(", ")", "a)", "[", "[a", "a**", "*", "\\", "\\1", "(?P<n>a)", "(?<=a)b", "a{", "a{x}", "a{1000}",
      "(?=(?=a))", "((((((){999}){999}){999}){999}){999}",
    ])
  func unreadable(_ expression: String) { #expect(NamePattern(expression) == nil) }

  @Test("An asterisk in a glob matches anything")
  func globs() throws {
    let pattern = try #require(NamePattern(glob: "model.layers.*.self_attn"))
    #expect(pattern.matchesPrefix(of: Array("model.layers.0.self_attn".utf8)[...]))
    #expect(!pattern.matchesPrefix(of: Array("modelXlayers.0.self_attn".utf8)[...]))
  }
}
