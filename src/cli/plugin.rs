//! Settings of a pipeline step: `PLUGIN_*` variables -> the arguments of a command.
//!
//! They count where railyard is started without arguments, as a plugin step starts it. Every option
//! has a setting by its long name: `--fail-fast` is `PLUGIN_FAIL_FAST`.

use clap::{Arg, ArgAction, Command};

use super::exit::{Exit, say};
use crate::manifest::nearest;

/// What every setting begins with.
const PREFIX: &str = "PLUGIN_";

/// The setting that names the command; `build` unless it is there.
const COMMAND: &str = "COMMAND";

/// Other names of options.
const ALIASES: &[(&str, &str)] = &[("MANIFEST", "file")];

/// The arguments that the settings among `variables` stand for; `None` where there are none.
///
/// Settings that no option has are said and passed over.
///
/// # Errors
/// A command that there is not, a value that is neither true nor false.
pub fn arguments(
    program: &Command,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Option<Vec<String>>, Exit> {
    let mut settings: Vec<(String, String)> = variables
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)))
        // A step's empty input is one that was not given.
        .filter(|(_, value)| !value.trim().is_empty())
        .collect();
    if settings.is_empty() {
        return Ok(None);
    }
    settings.sort();
    let named = settings.iter().find(|(name, _)| name == COMMAND).map_or("build", |(_, value)| value.trim());
    let mut words = Vec::new();
    let mut command = program;
    for word in named.split_whitespace() {
        command = subcommand(command, word)?;
        words.push(word.to_owned());
    }
    if command.has_subcommands() {
        return Err(unknown_command(command, ""));
    }
    let options: Vec<&Arg> = command.get_arguments().chain(program.get_arguments()).collect();
    let mut operands = Vec::new();
    for (name, value) in settings.iter().filter(|(name, _)| name != COMMAND) {
        let Some(option) = option(&options, name) else {
            say(&unknown(&options, name));
            continue;
        };
        match option.get_long() {
            Some(long) => words.extend(option_words(option, long, name, value)?),
            None => operands.extend(parts(option, value)),
        }
    }
    if !operands.is_empty() {
        words.push("--".to_owned());
        words.extend(operands);
    }
    Ok(Some(words))
}

fn subcommand<'c>(command: &'c Command, word: &str) -> Result<&'c Command, Exit> {
    command.find_subcommand(word).ok_or_else(|| unknown_command(command, word))
}

fn unknown_command(command: &Command, word: &str) -> Exit {
    let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let what = match word {
        "" => format!("`{PREFIX}{COMMAND}` names `{}`, which has commands of its own", command.get_name()),
        word => format!("`{PREFIX}{COMMAND}`: there is no command `{word}`"),
    };
    Exit::Usage(format!("error: {what}\n  help: write one of {}", known.join(", ")))
}

/// The setting's name of an option.
fn setting_of(option: &Arg) -> String {
    let name = option.get_long().unwrap_or_else(|| option.get_id().as_str());
    name.replace('-', "_").to_ascii_uppercase()
}

fn option<'o>(options: &[&'o Arg], name: &str) -> Option<&'o Arg> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, long)| *long);
    let fits = |option: &&&Arg| match alias {
        Some(long) => option.get_long() == Some(long),
        None => setting_of(option) == name,
    };
    options.iter().find(fits).copied()
}

fn unknown(options: &[&Arg], name: &str) -> String {
    let names: Vec<String> = options.iter().map(|option| setting_of(option)).collect();
    let help = match nearest(name, names.iter().map(String::as_str)) {
        Some(known) => format!("did you mean `{PREFIX}{known}`?"),
        None => "settings are the options of the command: `--fail-fast` is `PLUGIN_FAIL_FAST`".to_owned(),
    };
    format!("warning: the setting `{PREFIX}{name}` is not known and was passed over\n  help: {help}")
}

fn option_words(option: &Arg, long: &str, name: &str, value: &str) -> Result<Vec<String>, Exit> {
    match option.get_action() {
        ArgAction::SetTrue => match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(vec![format!("--{long}")]),
            "false" | "0" | "no" | "off" => Ok(Vec::new()),
            _ => Err(Exit::Usage(format!(
                "error: `{PREFIX}{name}` is `{value}`\n  help: write `true` or `false`"
            ))),
        },
        _ => Ok(parts(option, value).into_iter().map(|part| format!("--{long}={part}")).collect()),
    }
}

/// The values of a setting: one, or where the option may be repeated a list.
fn parts(option: &Arg, value: &str) -> Vec<String> {
    let several = matches!(option.get_action(), ArgAction::Append);
    if !several {
        return vec![value.trim().to_owned()];
    }
    if let Ok(table) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(value) {
        return table.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    }
    if let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(value) {
        return list.iter().map(plain).collect();
    }
    // The conditions of `--only` have commas of their own.
    let conditions = option.get_long() == Some("only");
    split(value, if conditions { &[';', '\n'] } else { &[',', '\n'] })
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Splits at separators; a backslash takes their meaning away.
fn split(text: &str, separators: &[char]) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let last = parts.last_mut().expect("there is always one");
        match c {
            '\\' if rest.peek().is_some_and(|next| separators.contains(next)) => last.extend(rest.next()),
            c if separators.contains(&c) => parts.push(String::new()),
            c => last.push(c),
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn words(settings: &[(&str, &str)]) -> Result<Option<Vec<String>>, Exit> {
        let program = super::super::Arguments::command();
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        arguments(&program, settings)
    }

    #[test]
    fn without_settings_there_is_nothing_to_add() {
        assert_eq!(words(&[("HOME", "/root"), ("PLUGIN_PUSH", " ")]).unwrap(), None);
    }

    #[test]
    fn settings_are_options_by_their_long_names() {
        let found = words(&[
            ("PLUGIN_PUSH", "true"),
            ("PLUGIN_LOCKED", "false"),
            ("PLUGIN_MANIFEST", "ci/builds.toml"),
            ("PLUGIN_FAIL_FAST", "TRUE"),
            ("PLUGIN_REPORT", "json:a.json, junit:b.xml"),
            ("PLUGIN_ONLY", "image=a,runtime=b;image=c"),
            ("PLUGIN_VAR", r#"{"target": "localhost:5000/a,b", "x": "1"}"#),
        ]);
        let expected = [
            "build",
            "--fail-fast",
            "--file=ci/builds.toml",
            "--only=image=a,runtime=b",
            "--only=image=c",
            "--push",
            "--report=json:a.json",
            "--report=junit:b.xml",
            "--var=target=localhost:5000/a,b",
            "--var=x=1",
        ];
        assert_eq!(found.unwrap().unwrap(), expected);
    }

    #[test]
    fn a_command_is_chosen_and_gets_its_operands() {
        let found = words(&[("PLUGIN_COMMAND", "update"), ("PLUGIN_NAMES", "a,b\\,c")]);
        assert_eq!(found.unwrap().unwrap(), ["update", "--", "a", "b,c"]);
        assert!(matches!(words(&[("PLUGIN_COMMAND", "bulid")]), Err(Exit::Usage(_))));
        assert!(matches!(words(&[("PLUGIN_PUSH", "perhaps")]), Err(Exit::Usage(_))));
    }

    #[test]
    fn settings_that_no_option_has_are_passed_over() {
        assert_eq!(words(&[("PLUGIN_PUHS", "true")]).unwrap().unwrap(), ["build"]);
    }
}
