//! Chat templates as Hugging Face publishes them: Jinja, with a few functions and Python's string methods.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, context};
use serde_json::Value;

/// The day that a template is told it is. A fixed one: the bytes of a prompt may not depend on the day it is made.
const TODAY: Date = date(2026, 1, 1);

const NAME: &str = "chat";

/// A chat template, ready to render.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// A template of `text`: Jinja, or a `tokenizer_config.json` that holds one. `special_tokens` go to the template by name
    /// (`bos_token`, …) and win over those of the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str, special_tokens: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut tokens = BTreeMap::new();
        let json = text.trim_start().strip_prefix('{').is_some_and(|rest| !rest.starts_with(['{', '%', '#']));
        let source = if json {
            let config: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            tokens.extend(specials(&config));
            of_config(&config)?
        } else {
            text.to_owned()
        };
        tokens.extend(special_tokens.clone());
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
            jiff::fmt::strtime::format(&format, TODAY)
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
        environment.add_template_owned(NAME, source).map_err(|error| error.to_string())?;
        Ok(Self { environment, special_tokens: tokens })
    }

    /// The conversation of these roles and texts as the model sees it, up to where its answer begins.
    ///
    /// # Errors
    /// What the template says against it.
    pub fn render<'m>(&self, messages: impl Iterator<Item = (&'m str, &'m str)>) -> Result<String, String> {
        let messages: Vec<_> = messages.map(|(role, content)| context! { role, content }).collect();
        let template = self.environment.get_template(NAME).map_err(|error| error.to_string())?;
        let special = minijinja::Value::from_pairs(self.special_tokens.clone());
        let known = context! { messages, add_generation_prompt => true, ..special };
        template.render(known).map_err(|error| error.to_string())
    }
}

/// The template of a `tokenizer_config.json`: the only one, or the default of several.
fn of_config(config: &Value) -> Result<String, String> {
    let named = |entry: &&Value| entry["name"] == "default";
    let template = match &config["chat_template"] {
        Value::String(template) => Some(template.as_str()),
        Value::Array(several) => several.iter().find(named).and_then(|entry| entry["template"].as_str()),
        _ => None,
    };
    template.map(str::to_owned).ok_or_else(|| "it has no `chat_template`".to_owned())
}

/// `bos_token` and its like, which are texts or objects with `content`.
fn specials(config: &Value) -> impl Iterator<Item = (String, String)> {
    let fields = config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
    fields.filter_map(|(name, value)| {
        let text = value.as_str().or_else(|| value["content"].as_str())?;
        Some((name.clone(), text.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, messages: &[(&str, &str)]) -> Result<String, String> {
        ChatTemplate::new(template, &BTreeMap::new())?.render(messages.iter().copied())
    }

    #[test]
    fn templates_see_messages_tokens_and_functions() {
        let text = "{{ bos_token }}{% for message in messages %}\n<{{ message['role'] | upper }}>\
                    {{ message.content.strip() }}{% endfor %}\n{% if add_generation_prompt %}\n<A>{% endif %}";
        let tokens = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
        let template = ChatTemplate::new(text, &tokens).unwrap();
        let rendered = template.render([("user", " hi "), ("assistant", "yes")].into_iter()).unwrap();
        assert_eq!(rendered, "<s><USER>hi<ASSISTANT>yes<A>");
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}", &[]).unwrap(), "01 Jan 2026");
        let refused = render("{{ raise_exception('only users') }}", &[]).unwrap_err();
        assert!(refused.contains("only users"), "{refused}");
        let reversed = "{% for message in messages[::-1] %}{{ loop.index0 }}{{ message.content }}{% endfor %}";
        assert_eq!(render(reversed, &[("user", "a"), ("user", "b")]).unwrap(), "0b1a");
        assert!(render("{% for", &[]).is_err());
    }

    #[test]
    fn a_tokenizer_config_has_its_template_and_tokens() {
        let config = r#"{"bos_token": {"content": "<b>"}, "eos_token": null, "chat_template": [{"name": "tool_use",
            "template": "no"}, {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"}]}"#;
        assert_eq!(render(config, &[("user", "x")]).unwrap(), "<b>x");
        assert_eq!(render("{\"bos_token\": \"x\"}", &[]).unwrap_err(), "it has no `chat_template`");
    }
}
