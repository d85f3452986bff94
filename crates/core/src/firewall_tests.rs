use super::*;

fn own() -> OwnNetwork {
    OwnNetwork {
        bridge: "mpbr0".to_owned(),
        address: Cidr4::known(10, 86, 0, 1, 24),
        ipv6: false,
        guest: LetIn {
            guest: "matrix".to_owned(),
            address: Some([10, 86, 0, 10].into()),
            proxies: vec![Source::alone([192, 168, 1, 5].into())],
            ports: vec![8008, 8080],
            open: Vec::new(),
        },
    }
}

/// The rules of a table, one a line: comment and what is looked at and done.
fn lines(table: &Json) -> String {
    let parts = table["nftables"].as_array().unwrap();
    let rules = parts.iter().filter_map(|part| part.pointer("/add/rule"));
    rules.map(|rule| format!("{}: {}\n", rule["comment"].as_str().unwrap(), rule["expr"])).collect()
}

#[test]
fn a_bridge() {
    insta::assert_snapshot!(lines(&bridge_table(&own(), &[own().guest])));
}

#[test]
fn the_machine_is_no_router() {
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    insta::assert_snapshot!(lines(&forwarding_table(&named(&["eth0"]), &named(&["mpbr0", "mpbr1"]))));
}

#[test]
fn the_guests_ports() {
    let of = [8008, 8080];
    let callers = [Source::alone([10, 86, 0, 1].into()), Cidr4::known(192, 168, 1, 0, 24).into()];
    insta::assert_snapshot!(lines(&ports_table(&of, &callers)));
}

/// A change of any rule changes a comment that is looked for.
#[test]
fn comments_tell_what_is_loaded() {
    let wanted = bridge_comments(&own());
    let parts = bridge_table(&own(), &[own().guest]);
    let loaded = comments_of(parts["nftables"].as_array().unwrap());
    assert!(are_loaded(&wanted, &loaded));
    // Another guest on the same bridge is no difference.
    let other = LetIn { guest: "second".to_owned(), proxies: Vec::new(), ..own().guest };
    let both = bridge_table(&own(), &[other, own().guest]);
    assert!(are_loaded(&wanted, &comments_of(both["nftables"].as_array().unwrap())));
    for change in [
        |n: &mut OwnNetwork| n.guest.proxies.clear(),
        |n: &mut OwnNetwork| n.guest.proxies.push(Cidr4::known(10, 0, 0, 0, 8).into()),
        |n: &mut OwnNetwork| n.guest.ports[0] = 18008,
        |n: &mut OwnNetwork| n.guest.address = None,
        |n: &mut OwnNetwork| n.address = Cidr4::known(10, 87, 0, 1, 24),
    ] {
        let mut changed = own();
        change(&mut changed);
        assert!(!are_loaded(&bridge_comments(&changed), &loaded), "{changed:?}");
    }
    // What an earlier version left has no comments at all.
    assert!(!are_loaded(&wanted, &[]));
}

#[test]
fn what_nft_lists() {
    let listed = br#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "x", "handle": 1}},
        {"rule": {"family": "inet", "table": "x", "chain": "c", "handle": 2, "comment": "answers", "expr": [{"accept": null}]}},
        {"rule": {"family": "inet", "table": "x", "chain": "c", "handle": 3, "expr": [{"accept": null}]}}]}"#;
    assert_eq!(parse_comments(Some(0), listed).unwrap(), ["answers"]);
    assert!(parse_comments(Some(1), b"").unwrap().is_empty());
    assert!(parse_comments(None, b"").unwrap().is_empty());
    parse_comments(Some(0), b"{").unwrap_err();
}

#[test]
fn a_guest_is_nobodys_router() {
    let settings = interface_settings("mpbr0", false);
    let has = |name: &str, value| settings.iter().any(|(n, v)| n == name && *v == value);
    assert!(has("ipv6/conf/mpbr0/accept_ra", "0") && has("ipv6/conf/mpbr0/disable_ipv6", "1"));
    assert!(has("ipv4/conf/mpbr0/accept_redirects", "0") && has("ipv4/conf/mpbr0/rp_filter", "1"));
    // Where the config has IPv6, the guest still says nothing about routes.
    let settings = interface_settings("mpbr0", true);
    assert!(settings.contains(&("ipv6/conf/mpbr0/accept_ra".to_owned(), "0")));
    assert!(settings.contains(&("ipv6/conf/mpbr0/disable_ipv6".to_owned(), "0")));
}

#[test]
fn open_ports_lead_to_their_guest() {
    let mut own = own();
    own.guest.open = vec![
        OpenPorts { protocol: Transport::Tcp, first: 3478, last: 3478 },
        OpenPorts { protocol: Transport::Udp, first: 49152, last: 49252 },
    ];
    let without = bridge_rules(&self::own(), &[self::own().guest]).digest();
    let table = bridge_rules(&own, std::slice::from_ref(&own.guest));
    assert_ne!(table.digest(), without);
    insta::assert_snapshot!(lines(&table.replace()));
    // An address that is not known yet leads nowhere.
    own.guest.address = None;
    assert!(!lines(&bridge_table(&own, std::slice::from_ref(&own.guest))).contains("open ports"));
}
