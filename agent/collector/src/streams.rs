//! Report streams without connections and without a clock: for whoever simulates both.

use diagnosis::{Expectation, Recorder, View, Watch, standing::Standing};
use evidence::{Moment, NodeName, Verdict};
use proto::wire::ReportRequest;

use crate::{
    access::Agent,
    intake::check::{self, FIRST, First, Offset},
    refusal::Refusal,
    state::{Admitted, State},
};

/// The view of a collector, and the streams that fill it: each message goes the way it goes in the program.
#[derive(Debug)]
pub struct Streams {
    state: State,
    watch: Watch,
    recorder: Recorder,
    standing: Standing,
}

/// One report stream.
#[derive(Debug)]
pub struct OpenStream {
    node: NodeName,
    admitted: Admitted,
    offset: Offset,
    expected: u64,
}

impl Streams {
    /// A collector that started at that moment.
    pub fn new(started: Moment, expectation: Expectation) -> Self {
        Self {
            state: State::new(started, expectation),
            watch: Watch::default(),
            recorder: Recorder::default(),
            standing: Standing::default(),
        }
    }

    /// The first message of a stream came; why it is refused, if it is.
    pub fn open(
        &mut self,
        node: &NodeName,
        key: [u8; 32],
        first: ReportRequest,
        at: Moment,
    ) -> Result<OpenStream, String> {
        let agent = Agent {
            node: node.clone(),
            key,
            mesh: String::new(),
            from: None,
        };
        let told = |refusal: Refusal| refusal.to_string();
        let First { facts, offset, .. } = check::snapshot(node, first, at).map_err(told)?;
        let admitted = self.state.open(&agent, facts, at).map_err(told)?;
        Ok(OpenStream {
            node: node.clone(),
            admitted,
            offset,
            expected: FIRST + 1,
        })
    }

    /// A later message came; why it is refused, if it is.
    pub fn apply(
        &mut self,
        stream: &mut OpenStream,
        message: ReportRequest,
        at: Moment,
    ) -> Result<(), String> {
        let told = |refusal: Refusal| refusal.to_string();
        let expected = stream.expected;
        stream.expected += 1;
        let (delta, _) =
            check::delta(&stream.node, message, expected, stream.offset).map_err(told)?;
        let id = stream.admitted.id;
        self.state.apply(&stream.node, id, delta, at).map_err(told)
    }

    /// A stream or its connection ended.
    pub fn close(&mut self, stream: &OpenStream, at: Moment) {
        self.state.close(&stream.node, stream.admitted.id, at);
    }

    /// Judges what is known, and remembers what a collector does from one judgement to the next.
    pub fn diagnose(&mut self, now: Moment) -> Verdict {
        let mut view = self.state.lend();
        let mut verdict = self.watch.diagnose(&view, now);
        self.standing.apply(&mut verdict, now);
        self.recorder.observe(&mut view, &verdict, now);
        self.state.give_back(view);
        verdict
    }

    /// What is known, as it would be judged.
    pub fn view(&mut self) -> View {
        let view = self.state.lend();
        self.state.give_back(view.clone());
        view
    }
}
