use serde_json::json;

use super::*;

fn wrong(text: &str) -> String {
    Canned::parse(text).unwrap_err().to_string()
}

fn method(canned: &Canned, service: &str, name: &str) -> usize {
    canned.service(ServiceId::from_name(service)).unwrap().methods[name].responses.len()
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, said) in [
        ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "is no object"),
        (r#"{"Calculator": {}}"#, "Calculator: is neither SERVICE/METHOD nor `service_ids`"),
        (r#"{"A/b": 3}"#, "A/b: is no object"),
        (r#"{"A/b": []}"#, "A/b: has no response"),
        (r#"{"A/b": {}}"#, "A/b: has none of `result`, `items`, `each` and `error`"),
        (r#"{"A/b": {"result": 1}, "A/b": {"result": 2}}"#, "A/b: is there twice"),
        (r#"{"A/b": {"reslut": 1}}"#, "A/b.reslut: there is no such field; did you mean `result`?"),
        (
            r#"{"A/b": {"result": 1, "items": []}}"#,
            "A/b: has a `result` and items; a method has one or the other",
        ),
        (r#"{"A/b": {"result": 1, "error": {"code": "aborted"}}}"#, "A/b: has a `result` and an `error`"),
        (r#"{"A/b": {"items": 1}}"#, "A/b.items: is no array of items"),
        (r#"{"A/b": [{"result": 1}, {"error": {}}]}"#, "A/b[1].error: has no `code`"),
        (
            r#"{"A/b": [{"result": 1}, {"error": {"code": "not_fuond"}}]}"#,
            "A/b[1].error.code: there is no code `not_fuond`; did you mean `not_found`?",
        ),
        (
            r#"{"A/b": {"error": {"code": "aborted", "value": 1, "details": 2}}}"#,
            "A/b.error: has a `value`, of the method's own error, and `details`, of a status",
        ),
        (r#"{"A/b": {"result": 1, "delay": 5}}"#, "A/b.delay: is no string"),
        (r#"{"A/b": {"result": 1, "delay": "5 days"}}"#, "A/b.delay: "),
        (
            r#"{"A/b": {"result": 1, "interval": "5ms"}}"#,
            "A/b.interval: is the time between items, and there are none",
        ),
        (r#"{"A/b": {"result": 1, "times": -1}}"#, "A/b.times: is no number of calls"),
        (
            r#"{"A/b": {"result": 1, "params": 3}}"#,
            "A/b.params: is neither an object, of parameters by name, nor",
        ),
        (r#"{"A/b": {"result": 1, "metadata": {"x": 3}}}"#, "A/b.metadata.x: is no string"),
        (r#"{"A/b": {"result": [{"$bytes": "?"}]}}"#, "A/b.result[0]: `$bytes` is no base64: "),
        (
            r#"{"A/b": {"result": 1, "shape": "round"}}"#,
            "A/b.shape: there is no shape `round`; there are unary, server",
        ),
        (r#"{"A/b": {"result": 1}, "service_ids": {"A": "x"}}"#, "service_ids.A: is no number of 32 bits"),
        (
            r#"{"A/b": {"result": 1}, "service_ids": {"B": 1}}"#,
            "service_ids.B: no method of this service is in the file",
        ),
        (
            r#"{"A/b": {"result": 1}, "B/b": {"result": 1}, "service_ids": {"A": 1, "B": 1}}"#,
            "B: has the same id, 0x00000001, as A",
        ),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(said), "{text}\n{found}\n{said}");
    }
}

#[test]
fn services_are_found_by_the_ids_of_their_names_or_those_that_are_given() {
    let canned = Canned::parse(
        r#"{
            "$comment": "anything",
            "a.B/c": [{"result": 1}, {"result": 2}], "a.B/d": {"result": 3}, "C/e": {"result": 4},
            "service_ids": {"C": 7}
        }"#,
    );
    let canned = canned.unwrap();
    assert_eq!((method(&canned, "a.B", "c"), method(&canned, "a.B", "d")), (2, 1));
    assert_eq!(canned.service(ServiceId::new(7)).unwrap().name, "C");
    assert!(canned.service(ServiceId::from_name("C")).is_none());
}

#[test]
fn the_first_response_that_fits_answers_until_it_is_used_up() {
    let canned = Canned::parse(
        r#"{"A/b": [
            {"params": {"b": 0}, "error": {"code": "out_of_range"}},
            {"params": {"at": {"x": [1, {"y": 2}]}}, "result": "deep"},
            {"params": [7], "result": "by position"},
            {"times": 2, "result": "twice"},
            {"result": "then"}
        ]}"#,
    );
    let canned = canned.unwrap();
    let method = &canned.service(ServiceId::from_name("A")).unwrap().methods["b"];
    let answer = |params: Value| match &method.find(&params).unwrap().answer {
        Answer::Result(Tree::Text(text)) => text.clone(),
        Answer::Error(error) => error.code.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(answer(json!({"a": 1, "b": 0.0})), "out_of_range");
    assert_eq!(answer(json!({"at": {"x": [1, {"y": 2, "z": 3}], "w": 4}})), "deep");
    assert_eq!(answer(json!([7])), "by position");
    assert_eq!(answer(json!({"at": {"x": [1]}})), "twice");
    assert_eq!(answer(json!([7, 8])), "twice");
    assert_eq!(answer(json!({})), "then");
}

#[test]
fn shapes_follow_from_the_responses_unless_they_are_given() {
    for (responses, shape) in [
        (r#"{"result": 1}"#, Shape::Unary),
        (r#"{"error": {"code": "aborted"}}"#, Shape::Unary),
        (r#"{"items": []}"#, Shape::ServerStreaming),
        (r#"[{"error": {"code": "aborted"}}, {"items": [1]}]"#, Shape::ServerStreaming),
        (r#"{"each": [1]}"#, Shape::Bidirectional),
        (r#"{"shape": "client_streaming", "result": 1}"#, Shape::ClientStreaming),
    ] {
        let canned = Canned::parse(&format!(r#"{{"A/b": {responses}}}"#)).unwrap();
        let service = canned.service(ServiceId::from_name("A")).unwrap();
        assert_eq!(service.methods["b"].shape, shape, "{responses}");
    }
}
