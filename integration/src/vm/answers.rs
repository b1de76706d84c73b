//! What the machines answered, kept from run to run: a scenario that is played again takes the place of what it said before.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{lab::LabError, vm::orders::Event};

/// Most answers that are kept; there is one for each scenario and measurement, and two for each run.
const MAX_ANSWERS: usize = 4096;

/// All that is kept, in the order in which it came.
#[derive(Debug, Default)]
pub struct Answers(Vec<Answer>);

/// One answer, and the run that it is of: the first one is that of all scenarios.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub run: usize,
    pub event: Event,
}

impl Answers {
    /// What `path` holds; nothing if there is no such file.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LabError::io("open", path.display())(error)),
        };
        let mut answers = Self::default();
        for line in BufReader::new(file).lines().take(MAX_ANSWERS) {
            let line = line.map_err(LabError::io("read", path.display()))?;
            let answer = serde_json::from_str(&line).map_err(io::Error::from);
            let answer = answer.map_err(LabError::io("read answers from", path.display()))?;
            answers.0.push(answer);
        }
        Ok(answers)
    }

    pub fn save(&self, path: &Path) -> Result<(), LabError> {
        let lines: Result<Vec<_>, _> = self.0.iter().map(serde_json::to_string).collect();
        let text = lines.map_err(io::Error::from).map(|mut lines| {
            lines.push(String::new());
            lines.join("\n")
        });
        text.and_then(|text| fs::File::create(path)?.write_all(text.as_bytes()))
            .map_err(LabError::io("write", path.display()))
    }

    /// Adds those of one more run. What was said of the same before is dropped, and so is what is beyond the limit.
    pub fn add_run(&mut self, events: Vec<Event>) {
        let run = self.0.last().map_or(0, |last| last.run + 1);
        for event in events {
            if let Some(subject) = event.subject() {
                self.0
                    .retain(|answer| answer.event.subject().as_ref() != Some(&subject));
            }
            if self.0.len() < MAX_ANSWERS {
                self.0.push(Answer { run, event });
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Answer> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(what: &str, log: &str) -> Event {
        Event::Broken {
            what: what.to_owned(),
            seconds: 0.0,
            log: log.to_owned(),
        }
    }

    #[test]
    fn what_is_played_again_takes_the_place_of_what_it_said_before_also_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answers");
        let mut answers = Answers::load(&file).unwrap();
        answers.add_run(vec![broken("a", "one"), broken("b", "one")]);
        answers.save(&file).unwrap();
        let mut answers = Answers::load(&file).unwrap();
        answers.add_run(vec![broken("a", "two")]);
        answers.save(&file).unwrap();
        let kept = Answers::load(&file).unwrap();
        let kept: Vec<_> = kept
            .iter()
            .map(|answer| (answer.run, answer.event.to_string()))
            .collect();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept[0].0 == 0 && kept[0].1.starts_with("b:"), "{kept:?}");
        assert!(kept[1].0 == 1 && kept[1].1.contains("two"), "{kept:?}");
    }

    #[test]
    fn a_file_of_something_else_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answers");
        fs::write(&file, "{}\n").unwrap();
        let error = Answers::load(&file).unwrap_err();
        assert!(error.to_string().contains("answers"), "{error}");
    }
}
