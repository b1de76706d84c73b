//! Which file it is (the order is that of Talos' pkg/machinery/client/config/path.go).

use std::{
    env,
    path::{Path, PathBuf},
};

use super::TalosconfigError;

const FILE: &str = "config";
/// Below the home directory.
const FOLDER: &str = ".talos";
/// Where Kubernetes mounts the one of a pod with access to Talos.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/talos.dev";

/// Where to look. The first file that is there wins; one that was typed must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The file that was typed.
    pub typed: Option<PathBuf>,
    /// `TALOSCONFIG`.
    pub talosconfig: Option<PathBuf>,
    /// `TALOS_HOME`, which counts only if it is absolute.
    pub talos_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl Lookup {
    /// As the environment says, behind what was typed.
    pub fn from_environment(typed: Option<PathBuf>) -> Self {
        let path = |name| env::var_os(name).map(PathBuf::from);
        Self {
            typed,
            talosconfig: path("TALOSCONFIG"),
            talos_home: path("TALOS_HOME"),
            home: path("HOME"),
        }
    }

    /// The file to read.
    pub fn find(&self) -> Result<PathBuf, TalosconfigError> {
        if let Some(typed) = &self.typed {
            return Ok(typed.clone());
        }
        let places = self.places();
        let found = places.iter().find(|place| place.exists());
        found
            .cloned()
            .ok_or(TalosconfigError::Nowhere { looked: places })
    }

    fn places(&self) -> Vec<PathBuf> {
        let talos_home = self.talos_home.clone().filter(|path| path.is_absolute());
        let folder = talos_home.or_else(|| Some(self.home.as_ref()?.join(FOLDER)));
        let named = self.talosconfig.clone().into_iter();
        let places = named.chain(folder.map(|folder| folder.join(FILE)));
        places
            .chain([Path::new(SERVICE_ACCOUNT).join(FILE)])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn what_was_typed_goes_before_the_environment_and_that_before_the_home() {
        let folder = tempfile::tempdir().unwrap();
        let named = file(folder.path(), "named");
        let own = file(folder.path(), ".talos/config");
        let mut lookup = Lookup {
            typed: Some("typed".into()),
            talosconfig: Some(named.clone()),
            talos_home: None,
            home: Some(folder.path().into()),
        };
        assert_eq!(lookup.find().unwrap(), Path::new("typed"));
        lookup.typed = None;
        assert_eq!(lookup.find().unwrap(), named);
        lookup.talosconfig = Some(folder.path().join("gone"));
        assert_eq!(lookup.find().unwrap(), own);
    }

    #[test]
    fn talos_home_replaces_the_home_only_if_it_is_absolute() {
        let lookup = |talos_home: &str| Lookup {
            talos_home: Some(talos_home.into()),
            home: Some("/home/me".into()),
            ..Lookup::default()
        };
        assert_eq!(lookup("/talos").places()[0], Path::new("/talos/config"));
        let relative = lookup("talos").places();
        assert_eq!(relative[0], Path::new("/home/me/.talos/config"));
        assert_eq!(relative.len(), 2);
    }

    #[test]
    fn where_there_is_none_the_places_are_named() {
        let lookup = Lookup {
            home: Some("/nonexistent".into()),
            ..Lookup::default()
        };
        if let Err(error) = lookup.find() {
            let text = error.to_string();
            assert!(text.contains("/nonexistent/.talos/config"), "{text}");
        }
    }
}
