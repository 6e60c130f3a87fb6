//! The page's files, as they are served. What a browser makes of them is tested in `clients/tests`.

use crate::harness::Server;

const FILES: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/page.css", "text/css; charset=utf-8"),
    ("/page.js", "text/javascript; charset=utf-8"),
    ("/icon.svg", "image/svg+xml"),
];

#[test]
fn the_page_comes_with_its_policy_and_needs_no_token() {
    let server = Server::start(&["--admin-token", "an-admin-token-of-some-length"]);
    for (target, media_type) in FILES {
        let reply = server.admin(target).send();
        assert_eq!((reply.status(), reply.field("content-type")), (200, Some(media_type)), "{target}");
        let policy = reply.field("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
        assert!(!reply.body.is_empty());
        super::change(&server, "POST", target).body("").send().problem(405);
    }
    // What is no file of it is part of what the token protects.
    server.admin("/page.html").send().problem(401);
}

/// Nothing is loaded from elsewhere, nothing stands in the document that a policy would have to let through, and no text is
/// ever read as markup.
#[test]
fn the_page_is_all_there_is() {
    let server = Server::start(&[]);
    let texts = FILES.map(|(target, _)| server.admin(target).send().text());
    let [html, css, script, _] = &texts;
    for elsewhere in ["http://", "https://", "//cdn", "@import", "url("] {
        assert!(!html.contains(elsewhere) && !css.contains(elsewhere), "{elsewhere}");
    }
    for inline in ["<script>", "style=", "onclick=", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    for markup in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage"]
    {
        assert!(!script.contains(markup), "{markup}");
    }
    assert!(texts.iter().map(String::len).sum::<usize>() < 100_000);
}
