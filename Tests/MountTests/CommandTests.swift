import Testing

/// Tests of the built commands that mount no model.
///
/// They run one after the other, beside those that mount, which leave a processor idle for half of the time.
@Suite(.serialized, .timeLimit(.minutes(5))) struct CommandTests {}
