/// How long a mount may be idle: a positive number with a unit as in timeout(1).
enum IdleLimit {
  /// Ten years, in seconds.
  private static let longest = 315_360_000.0
  private static let units: KeyValuePairs<String, Double> = [
    "min": 60, "s": 1, "m": 60, "h": 3600, "d": 86400,
  ]

  /// What is wrong with an argument that ``parse(_:)`` does not take.
  static let problem = "expected a time such as 600, 10m or 2h; without the option, the mount stays"

  /// A number of seconds, or of the unit after it; with or without a fraction. Nil for anything else, for 0, and for more than
  /// ten years.
  static func parse(_ text: String) -> Duration? {
    let unit = units.first { text.hasSuffix($0.key) }
    guard let number = Double(text.dropLast(unit?.key.count ?? 0)) else { return nil }
    let seconds = number * (unit?.value ?? 1)
    guard seconds > 0, seconds <= longest else { return nil }
    return .seconds(seconds)
  }
}
