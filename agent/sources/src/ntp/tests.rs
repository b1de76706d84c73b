use tokio::task::JoinHandle;

use super::*;

const NONCE: u64 = 42;

/// A server on loopback that answers each question with what `reply` makes of it.
async fn server(reply: fn(&[u8]) -> Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async move {
        let mut bytes = [0; MAX_BYTES];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            for answer in reply(&bytes[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    };
    (address, tokio::spawn(serve))
}

async fn asked(reply: fn(&[u8]) -> Vec<Vec<u8>>) -> Result<Answer, NtpError> {
    let (address, serving) = server(reply).await;
    let answer = ask_at(address, NONCE).await;
    serving.abort();
    answer
}

/// The right answer, of a clock that stands at 1,700,000,000 seconds.
fn well(question: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; packet::LENGTH];
    bytes[..2].copy_from_slice(&[0x24, 1]);
    bytes[24..32].copy_from_slice(&question[40..48]);
    let seconds = 1_700_000_000_u32 + 2_208_988_800;
    bytes[32..36].copy_from_slice(&seconds.to_be_bytes());
    bytes[40..44].copy_from_slice(&seconds.to_be_bytes());
    bytes
}

#[tokio::test]
async fn an_answer_is_the_time_with_an_error_of_half_the_way() {
    let before = boot_micros();
    let answer = asked(|question| vec![well(question)]).await.unwrap();
    let way = answer.at_micros - before;
    assert!(answer.error_micros <= way.div_ceil(2), "{answer:?}");
    let off = answer.wall_micros.abs_diff(1_700_000_000_000_000);
    assert!(off <= way, "{answer:?}");
}

#[tokio::test]
async fn garbage_before_the_answer_does_no_harm_and_garbage_alone_is_called_so() {
    let mixed = asked(|question| vec![b"garbage".to_vec(), well(&[7; 48]), well(question)]).await;
    assert!(mixed.is_ok(), "{mixed:?}");
    let garbage = asked(|_| vec![b"garbage".to_vec()]).await;
    assert!(
        matches!(garbage, Err(NtpError::Malformed { .. })),
        "{garbage:?}"
    );
}

#[tokio::test]
async fn a_flood_is_not_listened_to_for_long() {
    let flood = asked(|_| vec![vec![0x24; 48]; 1000]).await;
    assert!(
        matches!(flood, Err(NtpError::Malformed { .. })),
        "{flood:?}"
    );
}

#[tokio::test]
async fn silence_and_a_closed_port_are_told_apart() {
    let silent = asked(|_| Vec::new()).await;
    assert!(matches!(silent, Err(NtpError::Silent(_))), "{silent:?}");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let closed = ask_at(address, NONCE).await;
    assert!(matches!(closed, Err(NtpError::PortClosed(_))), "{closed:?}");
}

#[tokio::test]
async fn a_kiss_of_death_is_a_refusal_and_no_time() {
    let kissed = asked(|question| {
        let mut bytes = well(question);
        bytes[1] = 0;
        bytes[12..16].copy_from_slice(b"DENY");
        vec![bytes]
    });
    let error = kissed.await.unwrap_err().to_string();
    assert!(error.ends_with("kiss code DENY"), "{error}");
}

#[tokio::test]
async fn a_clock_that_was_set_back_while_it_answered_tells_nothing() {
    let contradicted = asked(|question| {
        let mut bytes = well(question);
        bytes[43] -= 1;
        vec![bytes]
    });
    let error = contradicted.await.unwrap_err();
    assert!(matches!(error, NtpError::Malformed { .. }), "{error:?}");
}
