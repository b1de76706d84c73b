use hickory_resolver::proto::{
    op::{Message, MessageType},
    rr::{Record, rdata::A},
};
use tokio::{net::UdpSocket, task::JoinHandle};

use super::*;

const ANSWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 123);

/// What a resolver of a test does with each question.
#[derive(Clone, Copy)]
enum Does {
    Answers(ResponseCode),
    TellsAnAddress,
    Nothing,
    TalksNonsense,
}

/// Starts a resolver on loopback.
async fn resolver(does: Does) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async move {
        let mut bytes = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            if let Some(answer) = answer(&bytes[..length], does) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    };
    (address, tokio::spawn(serve))
}

fn answer(question: &[u8], does: Does) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    message.metadata.message_type = MessageType::Response;
    match does {
        Does::Nothing => return None,
        Does::TalksNonsense => return Some(b"nonsense".to_vec()),
        Does::Answers(code) => message.metadata.response_code = code,
        Does::TellsAnAddress => {
            let query = message.queries[0].clone();
            if query.query_type() == RecordType::A {
                let data = RData::A(A(ANSWER));
                message.answers = vec![Record::from_rdata(query.name().clone(), 60, data)];
            }
        }
    }
    Some(message.to_vec().unwrap())
}

async fn ask(resolvers: &[SocketAddr], name: &str) -> Addresses {
    let resolver = Resolver::with_resolvers(resolvers).unwrap();
    resolver.addresses(name).await
}

async fn failure_of(does: Does) -> NameError {
    let (address, serving) = resolver(does).await;
    let answer = ask(&[address], "time.example.org").await;
    serving.abort();
    assert!(answer.all().is_empty());
    answer.failure().unwrap().clone()
}

#[tokio::test]
async fn each_way_to_fail_is_told_apart() {
    let cases = [
        (ResponseCode::NXDomain, NameError::NoSuchName),
        (ResponseCode::ServFail, NameError::ServFail),
        (ResponseCode::Refused, NameError::Refused),
        (ResponseCode::NoError, NameError::NoAddress),
        (ResponseCode::NotImp, NameError::Code(4)),
    ];
    for (code, expected) in cases {
        assert_eq!(failure_of(Does::Answers(code)).await, expected, "{code}");
    }
    assert_eq!(failure_of(Does::Nothing).await, NameError::Timeout);
    assert!(matches!(
        failure_of(Does::TalksNonsense).await,
        NameError::Timeout | NameError::Malformed(_)
    ));
}

#[tokio::test]
async fn a_resolver_whose_port_is_closed_is_not_one_that_is_silent() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let answer = ask(&[address], "time.example.org").await;
    assert!(
        matches!(answer.failure(), Some(NameError::Unreachable(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_name_with_one_family_is_no_failure() {
    let (address, serving) = resolver(Does::TellsAnAddress).await;
    let answer = ask(&[address], "time.example.org").await;
    serving.abort();
    assert_eq!(answer.all(), [IpAddr::V4(ANSWER)]);
    assert_eq!(answer.v6, Err(NameError::NoAddress));
    assert_eq!(answer.failure(), None);
}

#[tokio::test]
async fn the_second_resolver_is_asked_where_the_first_is_silent() {
    let (silent, first) = resolver(Does::Nothing).await;
    let (well, second) = resolver(Does::TellsAnAddress).await;
    let answer = ask(&[silent, well], "time.example.org").await;
    first.abort();
    second.abort();
    assert_eq!(answer.all(), [IpAddr::V4(ANSWER)]);
    let told = [(silent.ip(), NameError::Timeout)];
    assert_eq!(answer.passed_over, told);
}

#[tokio::test]
async fn an_address_is_its_own_answer_and_nobody_is_asked() {
    let answer = ask(&[], "2001:db8::123").await;
    assert_eq!(answer.all(), ["2001:db8::123".parse::<IpAddr>().unwrap()]);
    let answer = ask(&[], "192.0.2.123").await;
    assert_eq!(answer.failure(), None);
    assert_eq!(answer.all(), [IpAddr::V4(ANSWER)]);
}

#[tokio::test]
async fn what_is_no_name_is_said_to_be_none() {
    let long = "x".repeat(80);
    let answer = ask(&[], &long).await;
    assert_eq!(answer.failure(), Some(&NameError::NotAName(long)));
}
