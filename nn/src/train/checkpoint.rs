//! Checkpoints: everything that the next step depends on, as named tensors.

use crate::archive::Archive;
use crate::error::Error;
use crate::module::Module;
use crate::state::load_state_dict;

use super::{Trainer, monitor};

/// Metadata keys.
const STEP: &str = "step";
const MODEL: &str = "model";

impl Trainer {
    /// All that a resumed run needs besides its settings: `model.*`, `optimizer.*`, the state of the loss, the penalties
    /// (`penalty0.*`, ...), the regulariser and the method, and the step in the metadata, to which callers can add
    /// entries.
    pub fn checkpoint(&self) -> Archive {
        let mut archive = Archive::default();
        archive.add("model", self.model.state_dict());
        archive.add("optimizer", self.optimizer.state());
        archive.add("loss", self.loss.state());
        for (i, penalty) in self.penalties.iter().enumerate() {
            archive.add(&format!("penalty{i}"), penalty.state());
        }
        archive.add("regulariser", self.regulariser.as_ref().map_or(Vec::new(), |r| r.state()));
        archive.add("method", self.method.state());
        archive.add("monitor", monitor::state(&self.plateau, &self.early_stopping));
        archive.metadata.insert(STEP.to_string(), self.step.to_string());
        archive.metadata.insert(MODEL.to_string(), self.model.name.clone());
        archive
    }

    /// Resumes from a checkpoint of a trainer with the same settings: the following steps are bitwise identical to
    /// those of the uninterrupted run.
    ///
    /// # Errors
    /// If it is of another model, or tensors are missing, unexpected or of another shape; nothing has then changed,
    /// except perhaps in the method.
    pub fn restore(&mut self, archive: &Archive) -> Result<(), Error> {
        let text = |key: &str| archive.metadata.get(key).map(String::as_str);
        let Some(step) = text(STEP).and_then(|step| step.parse().ok()) else {
            return Err(Error::Format("not a checkpoint: its metadata has no step".to_string()));
        };
        if text(MODEL) != Some(&self.model.name) {
            return Err(Error::Config(format!(
                "the checkpoint is of model {}, not {}",
                text(MODEL).unwrap_or("(unnamed)"),
                self.model.name
            )));
        }
        let (mut model, mut optimizer) = (self.model.clone(), self.optimizer.clone());
        load_state_dict(&mut model, &archive.part("model"))?;
        optimizer.load_state(&model, &archive.part("optimizer"))?;
        let (mut loss, mut penalties) = (self.loss.clone(), self.penalties.clone());
        loss.load_state(&archive.part("loss"))?;
        for (i, penalty) in penalties.iter_mut().enumerate() {
            penalty.load_state(&archive.part(&format!("penalty{i}")))?;
        }
        let mut regulariser = self.regulariser.clone();
        match (&mut regulariser, archive.part("regulariser")) {
            (Some(regulariser), state) => regulariser.load_state(&state)?,
            (None, state) if state.is_empty() => {}
            (None, _) => {
                return Err(Error::Config(
                    "the checkpoint is of a run with a regulariser; this one has none".to_string(),
                ));
            }
        }
        let (mut plateau, mut stopping) = (self.plateau.clone(), self.early_stopping.clone());
        monitor::load_state(&mut plateau, &mut stopping, &archive.part("monitor"))?;
        self.method.load_state(&archive.part("method"))?;
        (self.plateau, self.early_stopping) = (plateau, stopping);
        (self.model, self.optimizer, self.step) = (model, optimizer, step);
        (self.loss, self.penalties, self.regulariser) = (loss, penalties, regulariser);
        Ok(())
    }
}
