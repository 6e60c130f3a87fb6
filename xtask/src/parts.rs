//! Chores that are made of parts, and who names some of them.

use anyhow::{Result, bail};

/// The parts of these names, in their usual order; all of them when none is named.
pub fn chosen<'a, P>(parts: &'a [P], name_of: impl Fn(&P) -> &str, names: &[String]) -> Result<Vec<&'a P>> {
    if let Some(name) = names.iter().find(|name| parts.iter().all(|part| name_of(part) != **name)) {
        let known: Vec<&str> = parts.iter().map(&name_of).collect();
        bail!("there is no part {name}; there are {}", known.join(", "));
    }
    Ok(parts.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == name_of(part))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_by_name() {
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            chosen(&["gnu", "musl", "deb"], |name| name, &names)
                .map(|parts| parts.into_iter().copied().collect::<Vec<_>>())
        };
        assert_eq!(chosen(&["deb", "gnu"]).unwrap(), ["gnu", "deb"]);
        assert_eq!(chosen(&[]).unwrap().len(), 3);
        assert!(chosen(&["rpm"]).unwrap_err().to_string().contains("gnu, musl, deb"));
    }
}
